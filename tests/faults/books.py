"""The judge: what the acquirer's own ledger says and what the payment says are the same."""

from collections import Counter
from dataclasses import dataclass

from tests.faults.shop import WITHIN_S, Json, Shop, patiently
from tests.support.witness import Entry, Witness

UNDECIDED = ("init", "processing")
REVERSAL = "-reversal"  # what the reference of a reversal adds to that of what it undoes


@dataclass(frozen=True)
class Books:
    """One payment, at rest: in the API and in the acquirer's ledger."""

    payment: Json
    refunds: list[Json]
    events: list[Json]
    ledger: list[Entry]

    @property
    def movements(self) -> list[str]:
        """What moved, in order, reversals included."""
        return [entry["operation"] for entry in self.ledger]

    @property
    def event_types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def standing(self, operation: str) -> int:
        """The sum that moved and was not undone."""
        undone = {entry["reference"] for entry in self.ledger if entry["operation"] == "reversal"}
        return sum(
            entry["amount"]
            for entry in self.ledger
            if entry["operation"] == operation and entry["reference"] + REVERSAL not in undone
        )


async def at_rest(shop: Shop, witness: Witness, payment_id: str, *, within_s: float = WITHIN_S) -> Books:
    """The books of a payment of which nothing is pending, once they agree in every way."""

    async def resting() -> Json | None:
        payment = await shop.payment(payment_id)
        pending = payment["status"] in UNDECIDED or payment["pending_operation"]
        refunds = await shop.refunds(payment_id)
        return None if pending or any(one["status"] == "pending" for one in refunds) else payment

    await patiently(resting, within_s=within_s)
    books = await read(shop, witness, payment_id)
    check(books)
    return books


async def read(shop: Shop, witness: Witness, payment_id: str) -> Books:
    """What both sides say now."""
    return Books(
        payment=await shop.payment(payment_id),
        refunds=await shop.refunds(payment_id),
        events=await shop.events(payment_id),
        ledger=await witness.ledger(payment_reference=payment_id),
    )


def check(books: Books) -> None:
    """Each movement was made once, the sums are the payment's, the events tell its story without a gap."""
    payment = books.payment
    assert payment["review"] is None, payment
    moved = Counter((entry["reference"], entry["operation"]) for entry in books.ledger)
    assert set(moved.values()) <= {1}, f"moved more than once: {moved}"
    assert books.standing("authorize") == payment["amount_authorized"], books
    assert books.standing("capture") == payment["amount_captured"], books
    assert books.standing("refund") == payment["amount_refunded"], books
    assert payment["amount_refunded"] <= payment["amount_captured"] <= payment["amount_authorized"], payment
    succeeded = sum(one["amount"] for one in books.refunds if one["status"] == "succeeded")
    assert succeeded == payment["amount_refunded"], books
    if payment["status"] == "voided":
        assert books.standing("void") == payment["amount_authorized"], books
    if payment["status"] == "failed":
        assert payment["last_error"]["code"], payment
    check_events(books)


def check_events(books: Books) -> None:
    """Sequence 1, 2, 3 … up to the payment's own; the status that it has was announced."""
    sequences = [event["sequence"] for event in books.events]
    assert sequences == list(range(1, books.payment["sequence"] + 1)), sequences
    assert f"payment.{books.payment['status']}" in books.event_types, books.event_types
