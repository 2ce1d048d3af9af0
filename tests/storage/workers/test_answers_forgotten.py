"""The sweeper forgets old answers until none is left, however many become old at once."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from temporalio.client import Client

from payonce.domain.answers import Answer, AnswerKind
from payonce.storage import idempotency
from payonce.storage.idempotency import ANSWER_KEPT, Key
from tests.storage.ledger import Ledger
from tests.storage.sweeping import sweeper_of
from workers import sweeper as sweeper_module

OLD = datetime.now(UTC) - ANSWER_KEPT - timedelta(hours=2)


async def test_it_goes_on_at_once_until_no_old_answer_is_left(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "ANSWERS_AT_ONCE", 2)
    for number in range(5):
        key = Key(
            merchant_id=ledger.merchant_id,
            mode="test",
            key=f"old-{number}",
            fingerprint=b"f",
            operation_id=None,
            location="",
            request_id="req_1",
            created_at=OLD,
        )
        async with ledger.database.transaction() as connection:
            assert await idempotency.claim_key(connection, key)
            answer = Answer(AnswerKind.AMOUNT_TOO_LARGE, b"{}")
            await idempotency.answer_key(connection, key, answer=answer, location="")
    sweeper = sweeper_of(ledger, cast("Client", None))
    assert [await sweeper.forget_answers() for _ in range(4)] == [True, True, False, False]
    left = "SELECT key FROM idempotency_keys WHERE answer_body IS NOT NULL OR forget_at IS NOT NULL"
    assert await ledger.rows(left) == []
