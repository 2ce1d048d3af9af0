"""The customer who comes back from the acquirer's page: where to, with what, and what that changes.

Nothing that a browser says is believed. That it came back makes us ask the acquirer, or send it what it wants to have
back; what the customer did there, the acquirer says.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from payonce.domain.events import Settlement, Story
from payonce.domain.ids import IdFactory
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationStatus
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.sca import LEGS_MAX

PATH: Final = "/v1/returns"
SETS_MAX: Final = LEGS_MAX  # of parameters, of one attempt
_IN_LOCATION: Final = "%/:?#[]@!$&'()*+,;=~"  # what stands in a URL by its own right


@dataclass(frozen=True, slots=True)
class ReturnPages:
    """The addresses of our page for customers who come back: one for each claim, and nobody can guess another."""

    ids: IdFactory
    public_url: str

    def address(self, *, reference: str, claim: str) -> str:
        """Where the acquirer sends the customer of the attempt that was claimed so."""
        return f"{self.public_url}{PATH}/{self.ids.return_token(reference=reference, claim=claim)}"


@dataclass(frozen=True, slots=True)
class Returned:
    """One set of what a browser brought back, as it is stored. No parameters, nothing sealed."""

    number: int  # of the attempt's sets
    digest: bytes
    key_id: str | None = None
    sealed: bytes | None = field(default=None, repr=False)


def kept(pairs: Iterable[tuple[str, str]], *, declared: Collection[str]) -> dict[str, str]:
    """The parameters that the connector declares; of one that comes twice, the first. Everything else is dropped."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in declared:
            found.setdefault(name, value)
    return found


def is_open(attempt: Attempt, operation: Operation, *, now: datetime) -> bool:
    """Whether a return changes anything: the customer may still act, and nobody has given the attempt up."""
    waits = attempt.state is AttemptState.WAITING and attempt.act_before is not None
    return waits and operation.status is OperationStatus.PENDING and now < (attempt.act_before or now)


def is_enough(attempt: Attempt, parameters: Mapping[str, str]) -> bool:
    """Whether they can be used: a second leg needs something to send."""
    return attempt.completes != "resume" or bool(parameters)


def is_new(digest: bytes, known: Collection[bytes]) -> bool:
    """Whether nobody has brought this set before, and not too many others."""
    return digest not in known and len(known) < SETS_MAX


def take(
    payment: Payment, operation: Operation, attempt: Attempt, returned: Returned | None, *, now: datetime
) -> Settlement:
    """The customer is back, and asked nothing more: `processing` with its event, unless that is told already.

    The attempt waits on, for the acquirer's word. `returned`: None where this set is known, or is one too many. Then,
    or where the customer comes too late, nothing changes.
    """
    if returned is None or not is_open(attempt, operation, now=now):
        return Settlement(payment, operation, attempt)
    attempt = replace(attempt, returned_at=attempt.returned_at or now)
    story = Story(payment, now)
    if payment.status is PaymentStatus.REQUIRES_ACTION:
        story.change(Change.DEFERRED, next_action=None)
        operation = replace(operation, deferred_at=operation.deferred_at or now, updated_at=now)
    return Settlement(story.payment, operation, attempt, story.events, returned=returned)


def sent_on(return_url: str, *, payment_id: str) -> str:
    """The merchant's URL with the payment's id, in place of one that it has already; the rest of it as it is."""
    url = urlsplit(return_url)
    members = [
        member
        for member in url.query.split("&")
        if url.query and unquote_plus(member.partition("=")[0]) != "payment"
    ]
    query = "&".join([*members, f"payment={payment_id}"])
    return quote(urlunsplit(url._replace(query=query)), safe=_IN_LOCATION)


def page_of(payment: Payment) -> str | None:
    """The acquirer's page to which the customer is to go; None: to none."""
    action = payment.next_action or {}
    return quote(str(action["url"]), safe=_IN_LOCATION) if action.get("type") == "redirect" else None


def origin_of(url: str) -> str | None:
    """Scheme, host and port of an http or https URL, in one spelling (RFC 6454 §4); None: it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    host = f"[{host}]" if ":" in host else host.rstrip(".")
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if port in (None, usual) else f"{parts.scheme}://{host}:{port}"
