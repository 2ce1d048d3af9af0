"""Codes and evidence are in Postgres with the outcome, and read back as they were."""

from dataclasses import replace

import pytest

from payonce.domain.evidence import Evidence
from payonce.domain.facts import DeclineCode, Declined, Fact, Undone
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage.driver.connection import Connection
from tests.storage.ledger import Ledger, subject
from tests.support.rows import approval


async def test_the_codes_of_a_decline_are_kept_with_it(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(PaymentStatus.AUTHORIZED)
    of = await shared_ledger.add_operation(paid, OperationKind.CAPTURE)
    fact = Declined(DeclineCode.DO_NOT_HONOR, "acq-1", {"network_decline_code": "05"}, "never")
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=fact)
    kept = {"code": "do_not_honor", "where": "never", "raw": {"network_decline_code": "05"}}
    assert (await shared_ledger.latest(of.id)).decline == kept
    assert ((await shared_ledger.payment(paid.id)).last_error or {})["network_decline_code"] == "05"


async def test_the_evidence_of_an_approval_is_kept_with_it(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    of = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    fact = approval(of, evidence=Evidence(scheme="visa", eci="05", signed=False))
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=fact)
    assert (await shared_ledger.latest(of.id)).evidence == {"scheme": "visa", "eci": "05", "signed": False}


@pytest.mark.parametrize("says_more", [False, True])
async def test_it_costs_no_statement(
    shared_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, says_more: bool
) -> None:
    tables: list[str] = []
    update = Connection.update

    async def noting(connection: Connection, table: object, *more: object, **values: object) -> None:
        tables.append(str(table))
        await update(connection, table, *more, **values)

    paid = await shared_ledger.add_payment()
    of = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    monkeypatch.setattr(Connection, "update", noting)
    fact = approval(of, evidence=Evidence(scheme="visa") if says_more else None)
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=fact)
    assert tables.count("attempts") == 1


async def test_an_approval_once_more_is_news_only_where_it_was_undone_meanwhile(
    shared_ledger: Ledger,
) -> None:
    """Some acquirers have no other word for it: told by an event of its own, it holds again, once."""
    paid = await shared_ledger.add_payment(PaymentStatus.AUTHORIZED)
    of = await shared_ledger.add_operation(paid, OperationKind.CAPTURE)
    told = approval(of)

    async def record(fact: Fact) -> tuple[int, int]:
        await shared_ledger.recorder().record(subject(of), attempt=1, fact=fact)
        payment = await shared_ledger.payment(paid.id)
        return payment.amount_captured_minor, payment.amount_capture_undecided_minor

    whole = paid.amount_minor
    assert await record(replace(told, event="capture-1")) == (whole, 0)
    assert await record(replace(told, event="capture-1, told in other words")) == (whole, 0)
    assert await record(Undone("failed-1", whole, paid.currency)) == (0, whole)
    assert await record(told) == (0, whole)  # not of an event of its own: no news
    assert await record(replace(told, event="capture-2")) == (whole, 0)
    assert await record(replace(told, event="capture-2")) == (whole, 0)
    assert await record(Undone("failed-2", whole, paid.currency)) == (0, whole)
    assert await record(replace(told, event="capture-2")) == (0, whole)  # it counted before
    assert await record(replace(told, event="capture-3")) == (whole, 0)
