"""What a person's decision needs besides the rows of the operation, read under the payment's lock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from payonce.domain import reviews
from payonce.domain.decisions import UNKNOWN_FINALITY, Decision, Finality, InReview
from payonce.domain.errors import DecisionRefused
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import Abilities, Operation, OperationKind
from payonce.domain.payment import Payment
from payonce.storage import attempts, payments, review_rows
from payonce.storage.driver.connection import Connection
from payonce.storage.review_rows import Decided


@dataclass(frozen=True, slots=True)
class Account:
    """What a decision needs to know of a connector account."""

    finality: Finality
    abilities: Callable[[OperationKind], Abilities]


@dataclass(frozen=True, slots=True)
class Deciding:
    """A decision, and what it is about."""

    matter: InReview
    decided: Decided  # as it is to be kept
    known: Decided | None  # it is on record


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """A decision that holds, and how its payment and operation stand."""

    payment: Payment
    operation: Operation
    decided: Decided
    again: bool  # it had been recorded before, and nothing changed


async def read_deciding(
    connection: Connection, found: InReview, decision: Decision, accounts: Mapping[str, Account]
) -> Deciding:
    """`found`: the rows under the payment's lock. Raises `DecisionRefused` where the key is another decision's."""
    known, review, now, latest = await connection.fetch_together(
        review_rows.decided_under(decision.key),
        review_rows.of_operation(found.operation.id),
        attempts.database_now(),
        review_rows.latest_about(found.operation.id),
    )
    if known is not None:
        refuse_another(known, decision)
    found = replace(found, latest=None if latest is None else latest.decision)
    matter = await read_matter(connection, found, accounts)
    reason = (review or _assumed(found, now)).reason
    return Deciding(matter, Decided(decision, reason, now), known)


def refuse_another(known: Decided, decision: Decision) -> None:
    """A key decides one thing. Raises `DecisionRefused` where it decided another."""
    if not known.decision.says_the_same(decision):
        raise DecisionRefused(_of_another(known))


async def read_matter(connection: Connection, found: InReview, accounts: Mapping[str, Account]) -> InReview:
    """With what it is about, where that is another operation's success, and what its account can and takes."""
    reference, attempt = found.operation.target_reference, found.attempt
    if reference is not None:
        target = await connection.fetch(payments.operation_by_id(operation_id_of(reference)))
        target_attempt = await attempts.find_by_reference(connection, reference)
        found = replace(found, target=target, target_attempt=target_attempt)
    account = accounts.get(found.payment.connector_account if attempt is None else attempt.connector_account)
    if account is None:
        return replace(found, finality=UNKNOWN_FINALITY)
    return replace(found, finality=account.finality, abilities=account.abilities(found.operation.kind))


def _assumed(found: InReview, now: datetime) -> reviews.Review:
    """The review that a process of an earlier version opened, which has no row."""
    words = str((found.payment.review or {}).get("reason", ""))
    return reviews.opened(found.operation, words=words, now=now)


def _of_another(known: Decided) -> str:
    decision = known.decision
    return (
        f"The key {decision.key} is that of another decision: {decision.operation_id} {decision.verdict}, by"
        f" {decision.actor} at {known.at:%Y-%m-%d %H:%M:%S}Z."
    )
