"""What a POST asks for, as understood, and the rows that it becomes when it is admitted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from api.http.passage import Passage
from payonce.domain import risk, routing
from payonce.domain.audit import Actor, ActorKind
from payonce.domain.cards import Card, NetworkToken
from payonce.domain.errors import InvalidRequest, PaymentError
from payonce.domain.operations import Operation, OperationKind, operation_of
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.payment_methods import Reason, SavedCard, Setup
from payonce.domain.personal import NOTHING_PERSONAL, Channel, PersonalData
from payonce.domain.returning import origin_of
from payonce.domain.sca import HandedIn, Sca
from payonce.storage.idempotency import Key
from payonce.storage.merchants import Caller

PERSONAL: Final = ("billing", "shipping", "browser")  # members of the create that are kept apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST as understood."""

    caller: Caller
    key: str = field(repr=False)  # what ids derive from; it is stored as `stored_key` says
    fingerprint: bytes
    request_id: str
    wait_s: float = 0.0  # `Prefer: wait`
    hashed_key: str | None = None  # where a card number may stand in the key
    origin: str | None = None  # the address that it came from
    passage: Passage = field(default_factory=Passage, repr=False, compare=False)

    @property
    def stored_key(self) -> str:
        """What stands for the key in every table."""
        return self.key if self.hashed_key is None else self.hashed_key

    @property
    def actor(self) -> Actor:
        """Who decides what it asks for, to the audit log."""
        return Actor(kind=ActorKind.API_KEY, id=self.caller.key_id, origin=self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidWith:
    """A payment method as understood: what it is for routing, what the API shows, what only memory may hold."""

    method: str  # "card", "upi.qr", "wallet.paytm", …
    shown: Mapping[str, Any]
    card: Card | None = field(default=None, repr=False)
    network_token: NetworkToken | None = field(default=None, repr=False)
    token: str | None = None  # of a saved card: what it is comes with the admission
    cvc: str | None = field(default=None, repr=False)  # beside that token


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """A create as validated; the card exists here and in the right to send, nowhere else."""

    amount_minor: int
    currency: str
    capture_method: str
    card: Card | None = field(default=None, repr=False)
    network_token: NetworkToken | None = field(default=None, repr=False)
    payment_method: Mapping[str, Any]  # as the API shows it
    method: str = "card"  # for routing: "card", "upi.qr", "wallet.paytm", …
    merchant_reference: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    return_url: str | None = None
    customer: Mapping[str, Any] | None = field(default=None, repr=False)
    statement_descriptor: str | None = None
    channel: Channel | None = None
    personal: PersonalData = NOTHING_PERSONAL
    sca: Sca | None = None
    authentication: HandedIn | None = field(default=None, repr=False)
    setup: Setup | None = None  # for what the card is saved, or set up where it was saved before
    token: str | None = None  # of the saved card that it is paid with
    cvc: str | None = field(default=None, repr=False)  # beside the token
    off_session: bool = False
    reason: Reason | None = None

    @property
    def saves(self) -> Setup | None:
        """For what the card is saved that came with this request; None: it is not."""
        return None if self.card is None else self.setup

    @property
    def in_memory(self) -> bool:
        """Whether only memory may hold something of it. That a saved card has a token is in Postgres."""
        beside = self.token is not None and self.authentication is not None
        held = (self.card, self.network_token, self.cvc)
        return beside or any(one is not None for one in held)

    @property
    def personal_is_stored(self) -> bool:
        """Whether there is personal data, and a run of another process may have to send it."""
        return not self.in_memory and self.personal != NOTHING_PERSONAL


class KeyInUse(PaymentError):
    """The first request with this idempotency key has not been answered yet."""

    code = "idempotency_key_in_use"
    retryable = True


class KeyFree(KeyInUse):
    """Nobody has the idempotency key: whoever held it a moment ago has rolled back."""


class KeyUnknown(PaymentError):
    """The idempotency key could not be read or taken, or what was read is not proven; nothing is promised."""

    code = "outcome_unknown"
    retryable = True


class KeyExpired(PaymentError):
    """The answer to this idempotency key is no longer kept; the key is never executed again."""

    code = "idempotency_key_expired"

    def __init__(self, *, location: str) -> None:
        super().__init__()
        self.location = location


def key_row(post: Post, *, operation_id: str | None, location: str) -> Key:
    """The key as this request claims it."""
    return Key(
        merchant_id=post.caller.merchant_id,
        mode=post.caller.mode,
        key=post.stored_key,
        fingerprint=post.fingerprint,
        operation_id=operation_id,
        location=location,
        request_id=post.request_id,
        created_at=datetime.now(UTC),
    )


def payment_row(post: Post, new: NewPayment, routed: risk.Routed, *, payment_id: str) -> Payment:
    """The payment as it is admitted: nothing has happened to it yet."""
    now, route = datetime.now(UTC), routed.route
    return Payment(
        id=payment_id,
        merchant_id=post.caller.merchant_id,
        mode=post.caller.mode,
        status=PaymentStatus.INIT,
        amount_minor=new.amount_minor,
        currency=new.currency,
        capture_method=new.capture_method,
        payment_method=new.payment_method,
        idempotency_key=post.stored_key,
        connector=route.connector,
        connector_account=route.account_id,
        created_at=now,
        updated_at=now,
        merchant_reference=new.merchant_reference,
        description=new.description,
        metadata=new.metadata,
        return_url=new.return_url,
        customer=new.customer,
        statement_descriptor=new.statement_descriptor,
        channel=new.channel,
        sca=_stored_sca(new, routed.sca),
        risk=None if routed.assessment is None else routed.assessment.shown(),
        capture=routed.capture,
    )


def _stored_sca(new: NewPayment, sca: Sca | None) -> Mapping[str, Any] | None:
    """What any attempt needs to know; of an authentication made elsewhere, that there is one."""
    if new.authentication is not None:
        return {"handed_in": True}
    return None if sca is None else asdict(sca)


def operation_row(
    post: Post, payment: Payment, *, id_: str, kind: OperationKind, amount_minor: int
) -> Operation:
    """The operation as it is admitted: pending."""
    now = datetime.now(UTC)
    return operation_of(
        payment, kind, id_=id_, amount_minor=amount_minor, now=now, request_id=post.request_id
    )


def wanted(post: Post, new: NewPayment, saved: SavedCard | None = None) -> routing.Wanted:
    """What the create asks of a connector account."""
    card = new.card or new.network_token or (None if saved is None else saved.method)
    return routing.Wanted(
        mode=post.caller.mode,
        method=new.method,
        currency=new.currency,
        amount_minor=new.amount_minor,
        capture_method=new.capture_method,
        brand=None if card is None else card.brand,
        asked_for=new.metadata.get(routing.ASKED_FOR) if post.caller.mode == "test" else None,
        sca=new.sca,
        handed_in=new.authentication is not None,
        saves_there=new.saves is not None and post.caller.card_storage == "acquirer",
        saved=None if saved is None else _saved(new, saved),
        given=partial(_has, new),
    )


def _saved(new: NewPayment, saved: SavedCard) -> routing.Saved:
    return routing.Saved(
        tokens_at=saved.tokens_at,
        vaulted=saved.vaulted is not None,
        by_merchant=new.off_session,
        issuer_country=saved.method.issuer_country,
    )


def _has(new: NewPayment, pointer: str) -> bool:
    """Whether the create has the member that the JSON Pointer names."""
    names = pointer.split("/")[1:]
    value: Any = new.personal if names[0] in PERSONAL else new
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value is not None


def check_return_origin(caller: Caller, return_url: str | None) -> None:
    """Raises `InvalidRequest` where a live customer would be sent back to an origin that is not on the list.

    Else our address would send anybody anywhere, at the word of whoever has a key.
    """
    if caller.mode != "live" or return_url is None:
        return
    if origin_of(return_url) not in caller.return_origins:
        raise InvalidRequest(
            "The origin of return_url is not one of those that the merchant's customers may be sent back to.",
            pointer="/return_url",
            code="data_required",
        )


def check_current(card: Card | None) -> None:
    """Raises `InvalidRequest` for a card whose month is over everywhere; nothing is sent then."""
    if card is not None and card.expired(datetime.now(UTC)):
        raise InvalidRequest(
            "The card's month is over.", pointer="/payment_method/card/exp_year", code="card_expired"
        )
