"""What an acquirer says beside yes or no is on the attempt, written by the statement that records it."""

from datetime import date

import pytest

from payonce.domain.evidence import Evidence
from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import AttemptState, OperationKind
from payonce.storage.driver.connection import Connection
from tests.storage.ledger import Ledger, subject
from tests.support.rows import approval

CODES = {"code": "card_declined", "network_decline_code": "05", "network_advice_code": "02"}
NO = Declined(DeclineCode.DO_NOT_HONOR, "acq-1", CODES, "other")
EVIDENCE = Evidence(
    scheme="visa",
    network_transaction_id="016153570198200",
    network_transaction_amount_minor=1000,
    network_transaction_date=date(2026, 11, 22),
    signed=False,
)


async def test_codes_of_a_decline_are_read_as_they_were_written(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    of = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=NO)
    attempt = await shared_ledger.latest(of.id)
    assert (attempt.state, attempt.evidence) == (AttemptState.DECLINED, None)
    assert attempt.decline == {"where": "other", "raw": CODES}
    error = (await shared_ledger.payment(paid.id)).last_error
    assert error is not None
    assert (error["network_decline_code"], error["network_advice_code"]) == ("05", "02")


async def test_evidence_is_read_as_it_was_written(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    of = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=approval(of, evidence=EVIDENCE))
    attempt = await shared_ledger.latest(of.id)
    assert (attempt.decline, attempt.evidence) == (None, EVIDENCE.kept())


@pytest.mark.parametrize("says_more", [False, True])
async def test_it_costs_no_statement(
    shared_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, says_more: bool
) -> None:
    tables: list[str] = []
    update = Connection.update

    async def noting(connection: Connection, table: object, *more: object, **values: object) -> None:
        tables.append(str(table))
        await update(connection, table, *more, **values)  # type: ignore[arg-type]

    paid = await shared_ledger.add_payment()
    of = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    monkeypatch.setattr(Connection, "update", noting)
    fact = approval(of, evidence=EVIDENCE if says_more else None)
    await shared_ledger.recorder().record(subject(of), attempt=1, fact=fact)
    assert tables.count("attempts") == 1
