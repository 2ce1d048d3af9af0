"""`payonce review`: what an operator types, as a process of its own, while Temporal does not answer."""

import json
import os
import pwd
import socket
from datetime import datetime
from typing import Any

import pytest

from payonce.cli.base import operator_name
from payonce.domain.decisions import UNKNOWN_FINALITY
from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.routing import ConnectorAccount
from payonce.sealing import Sealer
from payonce.storage.connector_accounts import insert_account
from tests.storage.deciding import pending_in_review
from tests.storage.ledger import DERIVATION_KEY, IDS, Ledger, settings_of, subject
from tests.support.forks import Ran, ran
from tests.support.rows import approval

K, S, O = OperationKind, PaymentStatus, OperationStatus
WITHIN_S = 60.0
WHY = ("--why", "their support says so")


async def review(ledger: Ledger, *arguments: str) -> Ran:
    """What the command printed, and its exit status."""
    environ = {
        "NO_COLOR": "1",
        "PAYONCE_DATABASE_URL": ledger.url,
        "PAYONCE_REDIS_URL": "redis://127.0.0.1:1",
        "PAYONCE_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PAYONCE_DERIVATION_KEY": DERIVATION_KEY,
    }
    return await ran("tests.support.command", "review", *arguments, environ=environ, within_s=WITHIN_S)


async def told(ledger: Ledger, *arguments: str) -> Any:
    """What the command said to a program."""
    ran = await review(ledger, *arguments, "--json")
    assert (ran.status, ran.error) == (0, "")
    return json.loads(ran.out)


async def long_ago(ledger: Ledger) -> None:
    """Also where the account is not among the settings of the command, nothing can arrive any more."""
    await ledger.rows("UPDATE attempts SET send_before = now() - interval '2 days'")


async def late_refund(ledger: Ledger) -> tuple[str, str]:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=300)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=Declined(DeclineCode.GENERIC_DECLINE))
    await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    return paid.id, IDS.reversal(reference=f"{refund.id}-1")


async def test_the_list_has_the_most_urgent_first_and_says_what_is_overdue(ledger: Ledger) -> None:
    assert (await review(ledger, "list")).out == "Nothing is in review.\n"
    _, first = await pending_in_review(ledger, K.REFUND)
    _, late = await pending_in_review(ledger, K.CAPTURE)
    assert (await review(ledger, "list", "--overdue")).out == "Nothing is overdue.\n"
    await ledger.rows(
        "UPDATE reviews SET due_at = now() - interval '1 hour' WHERE operation_id = :id", id=late.id
    )
    listed = (await review(ledger, "list")).out.splitlines()
    assert [line.split()[0] for line in listed] == [late.id, first.id]
    assert [" OVERDUE " in line for line in listed] == [True, False]
    only = await told(ledger, "list", "--overdue")
    assert (only["operation_id"], only["reason"], only["overdue"]) == (late.id, "undecided", True)


async def test_a_review_says_what_the_acquirer_knows_it_by_and_what_may_be_decided(ledger: Ledger) -> None:
    asked, capture = await pending_in_review(ledger, K.CAPTURE)
    shown = await told(ledger, "show", asked.id)
    (one,) = shown["reviews"]
    assert (shown["payment_id"], shown["status"]) == (asked.id, "authorized")
    assert (one["operation_id"], one["reason"], one["words"]) == (capture.id, "undecided", "unknown")
    assert [request["reference"] for request in one["attempts"]] == [f"{capture.id}-1"]
    assert list(one["verdicts"]) == ["approved", "declined", "reversed"]
    assert one["decidable_from"] is not None
    assert shown["merchant_may"] == {
        "capture": "A capture of this payment is pending.",
        "void": "A capture of this payment is pending.",
        "refund": "The payment cannot be refunded: nothing was captured.",
    }
    for id_ in (asked.id, capture.id):
        text = (await review(ledger, "show", id_)).out
        assert f"request {capture.id}-1 at account_1: unknown" in text
        assert f"payonce review decide {capture.id} VERDICT --why" in text
        assert "Meanwhile the merchant may" in text


async def test_a_review_may_be_decided_once_its_own_account_can_say_no_more(ledger: Ledger) -> None:
    """The account is in Postgres; one that is nowhere takes as long as any may."""
    asked, capture = await pending_in_review(ledger, K.CAPTURE, settled=False)
    before = datetime.fromisoformat((await told(ledger, "show", asked.id))["reviews"][0]["decidable_from"])
    account = ConnectorAccount(
        id="account_1",
        connector="stripe",
        mode="test",
        base_url="https://api.stripe.com",
        secrets={"key": ("rk_test_1",)},
        options={"call_deadline_s": "20", "finality_s": "7"},
        identity="acct_1",
    )
    sealer = Sealer(settings_of(ledger).webhook_keys())
    async with ledger.database.transaction() as connection:
        await insert_account(connection, account, sealer)
    after = datetime.fromisoformat((await told(ledger, "show", asked.id))["reviews"][0]["decidable_from"])
    longest = UNKNOWN_FINALITY.call_deadline_s + UNKNOWN_FINALITY.finality_s
    assert (before - after).total_seconds() == longest - 27
    assert capture.status is O.PENDING


async def test_what_the_acquirer_said_of_a_request_is_shown(ledger: Ledger) -> None:
    asked, capture = await pending_in_review(ledger, K.CAPTURE)
    await ledger.rows(
        "UPDATE attempts SET acquirer_identity = 'acct_1', evidence = '{\"eci\": \"05\"}'"
        " WHERE operation_id = :id RETURNING 1",
        id=capture.id,
    )
    (one,) = (await told(ledger, "show", asked.id))["reviews"]
    (request,) = one["attempts"]
    assert (request["identity"], request["decline"], request["evidence"]) == ("acct_1", None, {"eci": "05"})
    text = (await review(ledger, "show", asked.id)).out
    assert 'identity: "acct_1"' in text
    assert 'evidence: {"eci": "05"}' in text
    assert "decline:" not in text


async def test_a_late_refund_is_shown_with_the_request_that_it_is_about(ledger: Ledger) -> None:
    payment_id, case_id = await late_refund(ledger)
    shown = await told(ledger, "show", case_id)
    (one,) = shown["reviews"]
    assert [request["acquirer_reference"] for request in one["attempts"]] == ["acq-refund"]
    assert list(one["verdicts"]) == ["paid", "not_paid"]
    assert one["decidable_from"] is None
    assert (shown["payment_id"], shown["merchant_may"]["refund"]) == (payment_id, 700)


async def test_a_decision_is_recorded_although_temporal_is_away_and_says_so(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    await long_ago(ledger)
    arguments = ("decide", refund.id, "paid", *WHY, "--evidence", "ticket 7", "--reference", "acq-7")
    ran = await review(ledger, *arguments)
    assert (ran.status, ran.error) == (0, "")
    first, state, temporal = ran.out.splitlines()
    assert first.startswith(f"{refund.id} is decided: paid, by {pwd.getpwuid(os.getuid()).pw_name}@")
    assert "not authenticated" in first
    assert "; key " in first
    assert state == f"The refund is succeeded, {paid.id} is refunded."
    assert temporal.startswith("Temporal does not answer")
    assert (await ledger.payment(paid.id)).status is S.REFUNDED

    again = await told(ledger, *arguments)
    assert (again["again"], again["verdict"], again["authenticated"]) == (True, "paid", False)
    (one,) = (await told(ledger, "show", paid.id))["reviews"]
    assert (one["closed_by"], one["verdicts"]) == ("decision", {})
    (decided,) = one["decisions"]
    assert (decided["key"], decided["evidence"]) == (again["key"], "ticket 7")


async def test_a_late_refund_is_decided_by_its_case(ledger: Ledger) -> None:
    payment_id, case_id = await late_refund(ledger)
    said = await told(ledger, "decide", case_id, "paid", *WHY, "--key", "k-1")
    assert (said["key"], said["payment_status"], said["review"]) == ("k-1", "partially_refunded", None)
    other = await review(ledger, "decide", case_id, "not_paid", *WHY, "--key", "k-1")
    assert other.status == 1
    assert "k-1 is that of another decision" in other.error
    assert (await ledger.payment(payment_id)).amount_refunded_minor == 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "pay_nobody"), "There is no payment or operation pay_nobody."),
        (("show", "a b"), "'a b' is not the id of a payment or an operation"),
        (("decide", "re_nobody", "paid", *WHY), "There is no payment or operation re_nobody."),
    ],
)
async def test_what_is_not_there_is_one_line(ledger: Ledger, arguments: tuple[str, ...], words: str) -> None:
    ran = await review(ledger, *arguments)
    assert (ran.status, ran.out, ran.error) == (1, "", f"payonce: {words}\n")


async def test_what_is_refused_is_one_line_and_changes_nothing(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    before = await ledger.payment(paid.id)
    for arguments, words in (
        (("paid", *WHY, "--reference", "acq-1"), "It may still arrive at the acquirer"),
        (("orphan", *WHY), "can only be decided as paid, not_paid"),
        (("not_paid", "--why", "4242 4242 4242 4242"), "looks like a card number"),
    ):
        ran = await review(ledger, "decide", refund.id, *arguments)
        assert (ran.status, ran.out, ran.error.count("\n")) == (1, "", 1)
        assert words in ran.error
    assert await ledger.payment(paid.id) == before


async def test_what_is_in_review_anew_is_decided_anew(ledger: Ledger) -> None:
    authorized = await ledger.add_payment(S.AUTHORIZED)
    expiry = await ledger.add_operation(authorized, K.EXPIRE)
    declined = Declined(DeclineCode.GENERIC_DECLINE)
    await ledger.recorder().record(subject(expiry), attempt=1, fact=declined)
    first = await told(ledger, "decide", expiry.id, "declined", *WHY)
    assert (await told(ledger, "decide", expiry.id, "declined", *WHY))["again"] is True
    called = "UPDATE operations SET review_at = now() WHERE id = :id"  # whatever calls a person again
    opened = (
        "UPDATE reviews SET opened_at = now(), closed_at = NULL, closed_by = NULL WHERE operation_id = :id"
    )
    for query in (called, opened):
        await ledger.rows(query, id=expiry.id)
    second = await told(ledger, "decide", expiry.id, "declined", *WHY)
    assert (first["again"], second["again"]) == (False, False)
    assert first["key"] != second["key"]
    (one,) = (await told(ledger, "show", authorized.id))["reviews"]
    assert len(one["decisions"]) == 2


async def test_an_acquirers_words_move_no_cursor(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    await ledger.rows("UPDATE reviews SET words = :words", words="\x1b[2Jgone")
    await ledger.rows("UPDATE attempts SET connector_reference = :words", words="\x1b[2Jacq")
    printed = (await review(ledger, "show", paid.id)).out + (await review(ledger, "list")).out
    assert "\x1b" not in printed
    assert printed.count("�[2Jgone") == 2
    assert "at the acquirer �[2Jacq" in printed
    escaped = await review(ledger, "decide", refund.id, "paid", "--why", "\x1b[2J")
    assert (escaped.status, "cannot be printed" in escaped.error) == (1, True)


async def test_who_decides_is_the_user_of_the_process_and_who_used_sudo(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
    monkeypatch.setattr(socket, "gethostname", lambda: actor.split("@")[1])
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "somebody_else")
    assert operator_name() == actor
    monkeypatch.setenv("SUDO_USER", "ada")
    assert operator_name() == f"ada as {actor}"
    _, case_id = await late_refund(ledger)
    await told(ledger, "decide", case_id, "paid", *WHY)
    ((row),) = await ledger.rows("SELECT actor, authenticated FROM decisions")
    assert (row.actor, row.authenticated) == (actor, False)
