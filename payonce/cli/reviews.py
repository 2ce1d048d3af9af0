"""`payonce review`: what a person must decide, what is known of it, and the decision itself."""

import asyncio
import hashlib
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from payonce import logging
from payonce.cli.base import CommandRefused, Json, in_transaction, operator_name, show
from payonce.connectors.registry import open_connectors
from payonce.domain import reviews
from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.answers import payment_view
from payonce.domain.decisions import UNKNOWN_FINALITY, Decision, Finality, Verdict, settles_at
from payonce.domain.errors import PaymentError
from payonce.domain.facts import Stage
from payonce.domain.ids import ID_PATTERN
from payonce.domain.operations import Attempt, AttemptState, Operation, Subject
from payonce.domain.payment import Payment
from payonce.domain.reviews import Review
from payonce.domain.routing import ConnectorAccount
from payonce.domain.verdicts import verdicts
from payonce.runtime import open_runtime
from payonce.sealing import Sealer
from payonce.settings import settings_from_environment
from payonce.storage import oversight
from payonce.storage.attempts import latest
from payonce.storage.connector_accounts import find_account
from payonce.storage.driver.connection import Connection
from payonce.storage.review_rows import Decided

KEY_DIGITS: Final = 32
_SAID: Final = ("identity", "decline", "evidence")  # by the acquirer, of an attempt
NOT_AUTHENTICATED: Final = "as the machine says, not authenticated"

app = typer.Typer(no_args_is_help=True, help="Reviews: what a person must decide.")


@app.command("list")
def list_reviews(
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those that are past their due time.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many, the most urgent first.", min=1, max=1_000)] = 100,
    as_json: Json = False,
) -> None:
    """List the operations that a person must decide, by when they are due."""

    async def read(connection: Connection) -> list[Review]:
        return await oversight.open_reviews(connection, overdue=overdue, limit=limit)

    now = datetime.now(UTC)
    found = in_transaction(read)
    for review in found:
        late = " OVERDUE" if review.due_at < now else ""
        line = (
            f"{review.operation_id}  {review.payment_id}  {review.reason}  due {_time(review.due_at)}{late}"
        )
        show(_review_view(review, now), as_json, f"{line}  {_printable(review.words)}")
    if not found and not as_json:
        print("Nothing is overdue." if overdue else "Nothing is in review.")


@app.command("show")
def show_review(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A payment's or an operation's id.")],
    as_json: Json = False,
) -> None:
    """Say why it is in review, what the acquirer knows it by, and what each decision would do."""

    async def read(connection: Connection) -> tuple[Payment, bool, list[dict[str, Any]]]:
        payment, found = await oversight.in_review(connection, _id(id_))
        create = await connection.fetch(latest(payment.id))
        views = [await _view(connection, operation, review) for operation, review in found]
        return payment, create is not None and create.asked, views

    payment, asked, views = in_transaction(read)
    may = _merchant_may(payment, asked=asked, now=datetime.now(UTC))
    values = {
        "payment_id": payment.id,
        "status": payment.status,
        "payment": payment_view(payment),
        "reviews": views,
        "merchant_may": may,
    }
    show(values, as_json, "\n".join([f"{payment.id}  {payment.status}", *map(_told, views), *_may_told(may)]))


@app.command("decide")
def decide(  # noqa: PLR0917 - typer takes them by name
    operation_id: Annotated[str, typer.Argument(metavar="OPERATION", help="The operation's id.")],
    verdict: Annotated[Verdict, typer.Argument(help="`payonce review show` says which are possible.")],
    why: Annotated[str, typer.Option(help="Why: it is kept for ever.")],
    evidence: Annotated[
        str | None, typer.Option(help="Where it can be looked up: a ticket, a report.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Of this decision; else derived from what is decided.")
    ] = None,
    amount: Annotated[int | None, typer.Option(help="What moved, in minor units.", min=1)] = None,
    reference: Annotated[str | None, typer.Option(help="The acquirer's reference of it.")] = None,
    stage: Annotated[
        Stage | None, typer.Option(help="How far an authorization came, if not as asked for.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Record a decision. The same one again, under the same key, changes nothing."""
    decision = Decision(
        key=key or "",
        operation_id=_id(operation_id),
        verdict=verdict,
        actor=operator_name(),
        why=why,
        evidence=evidence,
        amount_minor=amount,
        reference=reference,
        stage=stage,
    )

    async def about(connection: Connection) -> tuple[str, datetime | None]:
        payment, found = await oversight.in_review(connection, operation_id)
        opened = [review.opened_at for of, review in found if review is not None and of.id == operation_id]
        return payment.id, opened[0] if opened else None

    payment_id, opened_at = in_transaction(about)
    decision = decision if key else replace(decision, key=_key(decision, opened_at))
    values, line = asyncio.run(_decide(Subject(payment_id, operation_id), decision))
    show(values, as_json, line)


async def _decide(subject: Subject, decision: Decision) -> tuple[dict[str, Any], str]:
    from workers.decisions import decide as taken_and_told  # the application's: only this command needs it

    settings = settings_from_environment()
    logging.configure(level="error", process="payonce")
    async with open_runtime(settings, with_vault=False) as runtime:
        await runtime.accounts.refresh()
        told = await taken_and_told(runtime, subject, decision)
    taken, decided = told.taken, told.taken.decided
    values = {
        "payment_id": taken.payment.id,
        "payment_status": taken.payment.status,
        "operation_status": taken.operation.status,
        "review": taken.payment.review,
        **_decided_view(decided),
        "again": taken.again,
        "workflow": told.words,
    }
    was = "was decided before, and nothing changed" if taken.again else "is decided"
    actor = f"by {decided.decision.actor} ({NOT_AUTHENTICATED}) at {_time(decided.at)}"
    lines = [
        f"{subject.operation_id} {was}: {decided.decision.verdict}, {actor}; key {decided.decision.key}",
        f"The {taken.operation.kind} is {taken.operation.status}, {taken.payment.id} is {taken.payment.status}.",
        f"{told.words[:1].upper()}{told.words[1:]}.",
    ]
    if taken.payment.review is not None:
        lines.append(f"The payment is still in review: {taken.payment.review['reason']}")
    return values, "\n".join(lines)


async def _view(connection: Connection, operation: Operation, review: Review | None) -> dict[str, Any]:
    """What is known of one operation, for a program."""
    now = datetime.now(UTC)
    attempts = await oversight.attempts_about(connection, operation)
    decided = await oversight.decisions_about(connection, operation.id)
    question = reviews.question(operation)
    row = {} if review is None else _review_view(review, now)
    return {
        **row,
        "operation_id": operation.id,
        "kind": operation.kind,
        "about": operation.target_reference,
        "amount": operation.amount_minor,
        "currency": operation.currency,
        "status": operation.status,
        "question": question,
        "attempts": [_attempt_view(attempt) for attempt in attempts],
        "verdicts": {verdict: effect.says for verdict, effect in verdicts(operation).items()},
        "decidable_from": await _decidable_from(connection, operation, attempts),
        "decisions": [_decided_view(one) for one in decided],
    }


def _review_view(review: Review, now: datetime) -> dict[str, Any]:
    open_ = review.closed_at is None
    return {
        "operation_id": review.operation_id,
        "payment_id": review.payment_id,
        "merchant_id": review.merchant_id,
        "mode": review.mode,
        "reason": review.reason,
        "words": review.words,
        "opened_at": _time(review.opened_at),
        "due_at": _time(review.due_at),
        "overdue": open_ and review.due_at < now,
        "overdue_at": None if review.overdue_at is None else _time(review.overdue_at),
        "closed_at": None if review.closed_at is None else _time(review.closed_at),
        "closed_by": review.closed_by,
    }


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    return {
        "reference": attempt.reference,
        "account": attempt.connector_account,
        "state": attempt.state,
        "stage": attempt.stage,
        "acquirer_reference": attempt.connector_reference,
        "claimed_at": _time(attempt.claimed_at),
        "identity": attempt.acquirer_identity,
        "decline": attempt.decline,
        "evidence": attempt.evidence,
    }


def _decided_view(decided: Decided) -> dict[str, Any]:
    decision = decided.decision
    return {
        "key": decision.key,
        "operation_id": decision.operation_id,
        "verdict": decision.verdict,
        "actor": decision.actor,
        "authenticated": False,
        "why": decision.why,
        "evidence": decision.evidence,
        "amount": decision.amount_minor,
        "reference": decision.reference,
        "stage": decision.stage,
        "at": _time(decided.at),
    }


async def _decidable_from(
    connection: Connection, operation: Operation, attempts: list[Attempt]
) -> str | None:
    """From when on the latest request of the operation can be decided; None: at once."""
    own = [attempt for attempt in attempts if attempt.operation_id == operation.id]
    if not own or own[-1].state.definite or own[-1].state is AttemptState.NOT_SENT:
        return None
    return _time(settles_at(own[-1], await _finality(connection, own[-1].connector_account)))


async def _finality(connection: Connection, account_id: str) -> Finality:
    """As the account's connector says, wherever the account is kept; the longest where it cannot be opened here."""
    try:
        account = await _account(connection, account_id)
        if account is None:
            return UNKNOWN_FINALITY
        able = open_connectors([account])[account_id].capabilities
    except PaymentError as error:
        print(f"The account {account_id} cannot be opened here: {error.message}", file=sys.stderr)
        return UNKNOWN_FINALITY
    return Finality(able.call_deadline_s, able.finality_s)


async def _account(connection: Connection, account_id: str) -> ConnectorAccount | None:
    """Of the settings, else as it is stored, with its secrets."""
    settings = settings_from_environment()
    fixed = [account for account in settings.accounts() if account.id == account_id]
    if fixed:
        return fixed[0]
    stored = await find_account(connection, account_id)
    return None if stored is None else settings.placed(stored.unsealed(Sealer(settings.webhook_keys())))


def _merchant_may(payment: Payment, *, asked: bool, now: datetime) -> dict[str, int | str]:
    """The amount that the merchant may still capture, void or refund; else why not."""
    rules: dict[str, Callable[[], int]] = {
        "capture": lambda: admit_capture(payment, amount_minor=None, now=now),
        "void": lambda: admit_void(payment, asked=asked),
        "refund": lambda: admit_refund(payment, amount_minor=None),
    }
    return {what: _amount_or_refusal(rule) for what, rule in rules.items()}


def _amount_or_refusal(rule: Callable[[], int]) -> int | str:
    try:
        return rule()
    except PaymentError as error:
        return error.message


def _told(view: dict[str, Any]) -> str:
    """One operation, for a person."""
    about = f" about {view['about']}" if view["about"] else ""
    lines = [
        f"{view['operation_id']}  {view['kind']}{about}  {view['amount']} {view['currency']}  {view['status']}"
    ]
    if "reason" in view:
        late = " (OVERDUE)" if view["overdue"] else ""
        closed = f", closed {view['closed_at']} by a {view['closed_by']}" if view["closed_at"] else ""
        lines.append(f"    in review since {view['opened_at']}, due {view['due_at']}{late}{closed}")
        lines.append(f"    {view['reason']}: {_printable(view['words'])}")
    for attempt in view["attempts"]:
        theirs = _printable(attempt["acquirer_reference"] or "")
        known = f", at the acquirer {theirs}" if theirs else ""
        lines.append(f"    request {attempt['reference']} at {attempt['account']}: {attempt['state']}{known}")
        lines += [
            f"      {what}: {_printable(json.dumps(attempt[what]))}"
            for what in _SAID
            if attempt[what] is not None
        ]
    for decided in view["decisions"]:
        actor = f"{decided['actor']} ({NOT_AUTHENTICATED})"
        lines.append(f"    decided {decided['verdict']} by {actor} at {decided['at']}: {decided['why']}")
    for verdict, says in view["verdicts"].items():
        lines.append(f"    {verdict}: {says}")
    if view["verdicts"]:
        after = f"    from {view['decidable_from']} on:" if view["decidable_from"] else "   "
        command = f"payonce review decide {shlex.quote(view['operation_id'])} VERDICT --why ..."
        lines.append(f"{after} {command}")
    return "\n".join(lines)


def _may_told(may: dict[str, int | str]) -> list[str]:
    said = (f"{what}: {rule if isinstance(rule, str) else f'up to {rule}'}" for what, rule in may.items())
    return ["Meanwhile the merchant may", *(f"    {line}" for line in said)]


def _key(decision: Decision, opened_at: datetime | None) -> str:
    """The same for the same decision, whoever types it; in a later review of the operation it is another."""
    since = "" if opened_at is None else opened_at.isoformat()
    said = (decision.verdict, str(decision.amount_minor), str(decision.reference), str(decision.stage))
    parts = (decision.operation_id, since, *said)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def _id(id_: str) -> str:
    if not ID_PATTERN.match(id_):
        raise CommandRefused(f"{id_!r} is not the id of a payment or an operation")
    return id_


def _printable(text: str) -> str:
    """An acquirer's words move no cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
