"""What a receipt says, whatever it is printed as: made of a payment's events, up to one of them.

Events never change, so neither does what is made of the same ones. Nothing here is HTML or typst: a text of somebody
else's is data, made harmless by `texts`, and each form of a receipt shows every member.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from payonce.domain.errors import PaymentError
from payonce.receipts.amounts import written
from payonce.receipts.texts import TEXT_MAX, line, lines

MOVEMENTS_MAX: Final = 200  # shown; the rest are added up in one line
REASONS_MAX: Final = (
    6_000  # letters of all reasons in the list; a refund's own receipt has the whole of its reason
)
REASON_MIN: Final = 24  # of one, however many there are
NOTICE: Final = "This is a receipt and no tax invoice."
TEST_NOTICE: Final = "Test mode: no money was moved."
ERASED: Final = "erased at the customer's request"
TAKEN_BACK: Final = "a part, since then: the payment's receipt has the sums"
_BRANDS: Final = {"amex": "American Express", "jcb": "JCB", "unionpay": "UnionPay", "rupay": "RuPay"}
_WALLETS: Final = {"apple_pay": "Apple Pay", "google_pay": "Google Pay", "phonepe": "PhonePe"}


class NothingToShow(PaymentError):
    """Nothing was captured, or the refund did not succeed, by these events."""

    code = "receipt_nothing_to_show"


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who was paid, as of now."""

    name: str
    address: str = ""
    logo: bytes | None = None


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event of the payment: its place, its type, when it came, and the object as it was then."""

    sequence: int
    type: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that moved: what, when, under which reference, and how much, as it is read."""

    what: str
    at: str
    reference: str
    amount: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Every text that is shown, in the order in which it is."""

    title: str
    merchant: str
    address: tuple[str, ...]
    test: str  # empty where money moved
    total: Fact
    facts: tuple[Fact, ...]
    movements: tuple[Movement, ...]
    sums: tuple[Fact, ...]
    state: str
    notice: str

    def as_json(self) -> str:
        """All of it, for what shows it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def texts(self) -> list[str]:
        """Every text that a reader must find, in each form."""
        parts: list[str] = [self.title, self.merchant, *self.address, self.test, self.state, self.notice]
        for fact in (self.total, *self.facts, *self.sums):
            parts += (fact.label, fact.text)
        for each in self.movements:
            parts += (each.what, each.at, each.reference, each.amount)
        return [part for part in parts if part]


def receipt_of(
    told: Sequence[PastEvent],
    shop: Letterhead,
    *,
    mode: str,
    authorization_code: str | None = None,
    refund_id: str | None = None,
    erased: bool = False,
) -> Receipt:
    """The receipt of the payment as of the last of these events, or of one refund. Raises `NothingToShow`.

    `erased`: without what says who the customer is.
    """
    payment = next((each for each in reversed(told) if each.data.get("object") == "payment"), None)
    if payment is None:
        raise NothingToShow
    refunds, changed = _refunds(told)
    test = TEST_NOTICE if mode == "test" else ""
    head = (line(shop.name), lines(shop.address), test)
    if refund_id is not None:
        return _of_refund(told, payment.data, refunds.get(refund_id), head, erased=erased)
    captures = _captures(told)
    if not captures or payment.data["amount_captured"] <= 0:
        raise NothingToShow
    data, currency = payment.data, payment.data["currency"]
    refunded, corrected = _corrected(payment, changed, refunds.values())
    movements = [*captures, *_refunded(refunds.values(), erased=erased), *corrected]
    return Receipt(
        "Receipt",
        *head,
        total=Fact("Amount paid", written(data["amount_captured"], currency)),
        facts=_facts(data, captures[0][0], authorization_code, erased=erased),
        movements=_bounded([shown for _, shown in sorted(movements, key=lambda each: each[0])]),
        sums=_sums(data["amount_captured"], refunded, currency) if refunds else (),
        state=_state(told[-1]),
        notice=NOTICE,
    )


def _of_refund(
    told: Sequence[PastEvent],
    payment: Mapping[str, Any],
    refund: PastEvent | None,
    head: tuple[str, tuple[str, ...], str],
    *,
    erased: bool,
) -> Receipt:
    if refund is None:
        raise NothingToShow
    data = refund.data
    facts = [
        Fact("Refunded on", _moment(refund.at)),
        *_texts(("Taken back", TAKEN_BACK if _is_taken_back(told, data["id"]) else None)),
        Fact("Refund", data["id"]),
        *_texts(("Reason", None if erased else data.get("reason"))),
        *_texts(("UPI reference (RRN)", _rrn(data))),
        *_instrument(payment, erased=erased, label="Refunded to"),
        *_order(payment, erased=erased),
        Fact("Payment", payment["id"]),
    ]
    return Receipt(
        "Refund receipt",
        *head,
        total=Fact("Amount refunded", written(data["amount"], data["currency"])),
        facts=tuple(facts),
        movements=(),
        sums=(),
        state=_state(told[-1]),
        notice=NOTICE,
    )


def _is_taken_back(told: Sequence[PastEvent], refund_id: str) -> bool:
    """Whether the last that is told of a refund, which stands, is that the acquirer has taken a part of it back."""
    latest = next(each for each in reversed(told) if each.data["id"] == refund_id)
    return latest.type == "refund.failed"


def _facts(
    payment: Mapping[str, Any], paid_at: datetime, authorization_code: str | None, *, erased: bool
) -> tuple[Fact, ...]:
    upi = payment["payment_method"].get("upi") or {}
    return (
        Fact("Paid on", _moment(paid_at)),
        *_instrument(payment, erased=erased, label="Paid with"),
        *_texts(("UPI reference (RRN)", upi.get("rrn"))),
        *_texts(("Authorization code", authorization_code)),
        *_order(payment, erased=erased),
        Fact("Payment", payment["id"]),
    )


def _order(payment: Mapping[str, Any], *, erased: bool) -> list[Fact]:
    """What was bought, and by whom."""
    customer = payment.get("customer") or {}
    if erased:
        return [*_texts(("Order", payment["merchant_reference"])), Fact("Personal data", ERASED)]
    return _texts(
        ("Customer", customer.get("name")),
        ("Order", payment["merchant_reference"]),
        ("Description", payment["description"]),
    )


def _instrument(payment: Mapping[str, Any], *, erased: bool, label: str) -> list[Fact]:
    """By which a customer knows what they paid with, and nobody else could pay."""
    method = payment["payment_method"]
    of_kind = method.get(method["type"]) or {}
    match method["type"]:
        case "card":
            shown = f"{_name(of_kind.get('brand'), _BRANDS) or 'Card'} {_masked(of_kind.get('last4'))}"
        case "upi":
            vpa = None if erased else of_kind.get("vpa")
            shown = f"UPI {masked_vpa(vpa)}" if vpa else "UPI"
        case _:
            card = f"{_name(of_kind.get('brand'), _BRANDS)} {_masked(of_kind.get('last4'))}"
            shown = f"{_name(of_kind.get('provider'), _WALLETS) or 'Wallet'} {card}"
    return _texts((label, shown))


def masked_vpa(vpa: str) -> str:
    """Enough for its owner to know it, and at most a third of the name: `pr••••@bank`."""
    name, at, bank = vpa.partition("@")
    return f"{name[: min(2, len(name) // 3)]}••••{at}{bank}"


def _masked(last4: str | None) -> str:
    return f"•••• {last4}" if last4 else ""


def _name(value: str | None, names: Mapping[str, str]) -> str:
    return "" if not value else names.get(value, value.replace("_", " ").title())


def _captures(told: Iterable[PastEvent]) -> list[tuple[datetime, Movement]]:
    """By how much the captured amount went up or down from event to event."""
    found, before = [], 0
    for each in told:
        if each.data.get("object") != "payment":
            continue
        now = each.data["amount_captured"]
        if now != before:
            what = "Payment" if now > before else "Payment taken back"
            amount = written(now - before, each.data["currency"])
            found.append((each.at, Movement(what, _moment(each.at), each.data["id"], amount)))
        before = now
    return found


def _refunds(told: Iterable[PastEvent]) -> tuple[dict[str, PastEvent], int]:
    """The refunds that stand, each as of the event that told of its success, and the last event that changed them."""
    standing: dict[str, PastEvent] = {}
    changed = 0
    for each in told:
        if each.data.get("object") != "refund":
            continue
        refund_id, succeeded = each.data["id"], each.data["status"] == "succeeded"
        if succeeded or refund_id in standing:
            changed = each.sequence
        if succeeded:
            standing.setdefault(refund_id, each)
        else:
            standing.pop(refund_id, None)
    return standing, changed


def _corrected(
    payment: PastEvent, changed: int, refunds: Collection[PastEvent]
) -> tuple[int, list[tuple[datetime, Movement]]]:
    """How much is refunded, and what makes it so beside these refunds.

    A refund of which a part was taken back, or found no room, is still one of its whole amount; the payment's own
    amount is right, where its event is the later one.
    """
    listed = sum(each.data["amount"] for each in refunds)
    refunded: int = payment.data["amount_refunded"] if payment.sequence > changed else listed
    if refunded == listed:
        return listed, []
    amount = written(listed - refunded, payment.data["currency"])
    corrected = Movement("Correction of refunds", _moment(payment.at), payment.data["id"], amount)
    return refunded, [(payment.at, corrected)]


def _refunded(refunds: Collection[PastEvent], *, erased: bool) -> list[tuple[datetime, Movement]]:
    """Each with so much of its reason that all of them can be drawn."""
    listed = min(max(len(refunds), 1), MOVEMENTS_MAX)
    letters = 0 if erased else max(REASON_MIN, min(TEXT_MAX, REASONS_MAX // listed))
    return [(each.at, _refund(each, letters=letters)) for each in refunds]


def _refund(told: PastEvent, *, letters: int) -> Movement:
    rrn, said = _rrn(told.data), told.data.get("reason")
    reason = line(said, at_most=letters) if said and letters else ""
    parts = (told.data["id"], f"RRN {rrn}" if rrn else "", reason)
    amount = written(-told.data["amount"], told.data["currency"])
    return Movement("Refund", _moment(told.at), " · ".join(part for part in parts if part), amount)


def _rrn(data: Mapping[str, Any]) -> str | None:
    upi = data.get("upi") or {}
    return upi.get("rrn")


def _bounded(movements: Sequence[Movement]) -> tuple[Movement, ...]:
    """The first ones; of more, how many are left out: the sums count them."""
    left = len(movements) - MOVEMENTS_MAX
    if left <= 0:
        return tuple(movements)
    return (*movements[:MOVEMENTS_MAX], Movement(f"and {left} more", "", "", ""))


def _sums(captured: int, refunded: int, currency: str) -> tuple[Fact, ...]:
    return (
        Fact("Paid", written(captured, currency)),
        Fact("Refunded", written(-refunded, currency)),
        Fact("Paid after refunds", written(captured - refunded, currency)),
    )


def _state(last: PastEvent) -> str:
    return f"As of {_moment(last.at)}, event {last.sequence} of the payment."


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _texts(*pairs: tuple[str, str | None]) -> list[Fact]:
    """Those that are there, made harmless."""
    shown = [(label, line(text)) for label, text in pairs if text]
    return [Fact(label, text) for label, text in shown if text]
