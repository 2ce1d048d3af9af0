"""What is kept of a decision, and of each time a saved card number was taken: who, what, from where, why.

An entry is hashed with a salted hash of its personal members, so these can be erased and it still is what was sealed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import InvalidRequest

WHY_MAX: Final = 500
_FORMAT: Final = 1


class EntryKind(StrEnum):
    DECISION = "decision"
    ACCESS = "access"


class ActorKind(StrEnum):
    PERSON = "person"  # user@host, as the machine says: not authenticated
    API_KEY = "api_key"
    PROCESS = "process"


class AuditAction(StrEnum):
    """What is audited."""

    MERCHANT_CREATED = "merchant.created"
    MERCHANT_CHANGED = "merchant.changed"
    KEY_CREATED = "api_key.created"
    KEY_REVOKED = "api_key.revoked"
    ACCOUNT_ADDED = "connector_account.added"
    ACCOUNT_ROTATED = "connector_account.rotated"
    ACCOUNT_ENABLED = "connector_account.enabled"
    ACCOUNT_DISABLED = "connector_account.disabled"
    REVIEW_DECIDED = "review.decided"
    ISSUERS_IMPORTED = "issuers.imported"
    DATABASE_UPGRADED = "database.upgraded"
    SECRETS_SEALED = "secrets.sealed"
    BODIES_UNPACKED = "bodies.unpacked"
    VAULT_ROTATION_STARTED = "vault.rotation_started"
    VAULT_ROTATION_ENDED = "vault.rotation_ended"
    ENDPOINT_CREATED = "webhook_endpoint.created"
    ENDPOINT_CHANGED = "webhook_endpoint.changed"
    ENDPOINT_DELETED = "webhook_endpoint.deleted"
    ENDPOINT_SECRET_ROTATED = "webhook_endpoint.secret_rotated"  # noqa: S105 - the name of what was done
    EVENTS_REPLAYED = "webhooks.replayed"
    RISK_CHANGED = "risk.changed"
    RECEIPTS_ERASED = "receipts.erased"
    DISPUTE_ACCEPTED = "dispute.accepted"
    FINDING_SETTLED = "reconciliation.settled"
    RECONCILIATION_ALLOWED = "reconciliation.allowed"
    PERSONAL_ERASED = "audit.personal_erased"
    CARD_TAKEN = "card.taken"
    METHOD_DELETED = "payment_method.deleted"
    CARD_ERASED = "card.erased"  # no vault may keep it, as the acquirer says of its issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did it."""

    kind: ActorKind
    id: str
    origin: str | None = None  # where from, as an address: personal


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was done. No secret and nothing personal is among the details; numbers there are whole."""

    action: AuditAction
    subject: str
    merchant_id: str | None = None
    mode: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the log as it is stored, without its personal members."""

    id: str
    transaction_id: int
    at: datetime
    kind: str
    action: str
    actor_kind: str
    actor: str
    subject: str
    merchant_id: str | None
    mode: str | None
    details: Mapping[str, Any]
    personal_hash: bytes | None

    def hashed(self) -> bytes:
        """What a seal has of it."""
        parts = (
            *(
                _FORMAT,
                self.id,
                self.transaction_id,
                self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            ),
            *(self.kind, self.action, self.actor_kind, self.actor, self.subject, self.merchant_id, self.mode),
            *(self.details, None if self.personal_hash is None else self.personal_hash.hex()),
        )
        return hashlib.sha256(_written(parts)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSeal:
    """How many entries the transactions of a range wrote, and what they hash to. Nothing more can come into it.

    It is called by the last hour that was over when it was made, and has every entry since the seal before it.
    """

    hour: datetime
    since: datetime  # the first hour that it closes
    first_transaction: int
    next_transaction: int  # the first that is not of it
    entries: int
    digest: bytes

    @property
    def key(self) -> str:
        """Where it lies in the receipt store."""
        hour = self.hour.astimezone(UTC)
        return f"{folder_of(hour)}/{hour:%H}.seal"

    def written(self, hashes: Mapping[str, bytes] | None) -> bytes:
        """As it is stored: itself in the first line, then each entry's id and hash, where they are not too many."""
        head = {
            "format": _FORMAT,
            "hour": self.hour.astimezone(UTC).isoformat(),
            "since": self.since.astimezone(UTC).isoformat(),
            "first_transaction": self.first_transaction,
            "next_transaction": self.next_transaction,
            "entries": self.entries,
            "digest": self.digest.hex(),
            "listed": hashes is not None,
        }
        lines = (f"{id_} {value.hex()}\n".encode() for id_, value in (hashes or {}).items())
        return b"".join((_written(head), b"\n", *lines))

    @classmethod
    def read(cls, content: bytes) -> "tuple[AuditSeal, dict[str, bytes] | None]":
        """What `written` wrote. Raises `ValueError` for anything else."""
        first, *lines = content.decode("ascii").splitlines()
        head = json.loads(first)
        try:
            seal = cls(
                hour=datetime.fromisoformat(head["hour"]),
                since=datetime.fromisoformat(head["since"]),
                first_transaction=int(head["first_transaction"]),
                next_transaction=int(head["next_transaction"]),
                entries=int(head["entries"]),
                digest=bytes.fromhex(head["digest"]),
            )
            if not head["listed"]:
                return seal, None
        except (KeyError, TypeError) as error:
            raise ValueError("no seal") from error
        parts = (line.split(" ") for line in lines)
        return seal, {id_: bytes.fromhex(value) for id_, value in parts}


def folder_of(day: datetime) -> str:
    """Where the seals of a day lie in the receipt store."""
    return f"audit/{day.astimezone(UTC):%Y-%m-%d}"


def hash_of_personal(salt: bytes, members: Mapping[str, str]) -> bytes:
    """What an entry keeps of its personal members. Without the salt nobody finds them by trying."""
    return hashlib.sha256(salt + _written(members)).digest()


def checked_why(why: str | None) -> str | None:
    """The reason as it may be kept; None for none. Raises `InvalidRequest`."""
    if why is None or not why.strip():
        return None
    if len(why) > WHY_MAX or not why.replace("\n", " ").isprintable() or looks_like_card_number(why):
        raise InvalidRequest(
            f"A reason has at most {WHY_MAX} printable characters, and nothing in it looks like a card number.",
            pointer="/why",
        )
    return why.strip()


def _written(value: Any) -> bytes:
    """The same bytes for the same value, whoever writes them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
