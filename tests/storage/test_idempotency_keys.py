"""The unique row that decides, for ever."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from payonce.domain.answers import Answer, AnswerKind
from payonce.domain.errors import NotFound
from payonce.storage import idempotency, unpacking
from payonce.storage.driver.database import Database
from payonce.storage.idempotency import ANSWER_KEPT, SECRET_SHOWN, Key
from tests.storage.ledger import Ledger

NOW = datetime.now(UTC)
ANSWER = Answer(AnswerKind.PAYMENT, b'{"id":"pay_1"}')


def key_of(ledger: Ledger, name: str = "k", **changes: object) -> Key:
    values: dict[str, object] = {
        "merchant_id": ledger.merchant_id,
        "mode": "test",
        "key": name,
        "fingerprint": b"f",
        "operation_id": f"op_{name}",
        "location": "/v1/payments/pay_1",
        "request_id": "req_1",
        "created_at": NOW,
    }
    return Key(**{**values, **changes})


async def claim(ledger: Ledger, key: Key) -> bool:
    async with ledger.database.transaction() as connection:
        return await idempotency.claim_key(connection, key)


async def stored(ledger: Ledger, key: Key) -> Key | None:
    async with ledger.database.transaction() as connection:
        return await idempotency.find_key(connection, merchant_id=key.merchant_id, mode=key.mode, key=key.key)


async def test_a_key_is_claimed_once_however_many_try(ledger: Ledger) -> None:
    tries = [key_of(ledger, request_id=f"req_{n}") for n in range(10)]
    claimed = await asyncio.gather(*(claim(ledger, key) for key in tries))
    assert claimed.count(True) == 1
    found = await stored(ledger, tries[0])
    assert found is not None
    assert found.request_id == tries[claimed.index(True)].request_id


async def test_a_key_belongs_to_one_merchant_in_one_mode(ledger: Ledger) -> None:
    assert await claim(ledger, key_of(ledger))
    assert await claim(ledger, key_of(ledger, mode="live"))
    assert await stored(ledger, key_of(ledger, merchant_id="mer_other")) is None


async def test_a_key_whose_transaction_was_rolled_back_is_free(ledger: Ledger) -> None:
    key = key_of(ledger)

    async def claim_and_fail() -> None:
        async with ledger.database.transaction() as connection:
            assert await idempotency.claim_key(connection, key)
            raise NotFound

    with pytest.raises(NotFound):
        await claim_and_fail()
    assert await claim(ledger, key)


async def test_the_first_answer_is_stored_byte_for_byte_and_stays(ledger: Ledger) -> None:
    key = key_of(ledger)
    await claim(ledger, key)
    for answer in (ANSWER, Answer(AnswerKind.PAYMENT_FAILED, b"{}")):
        async with ledger.database.transaction() as connection:
            await idempotency.store_answer(
                connection,
                operation_id="op_k",
                merchant_id=ledger.merchant_id,
                mode="test",
                answer=answer,
                now=NOW,
            )
    found = await stored(ledger, key)
    assert found is not None
    assert found.answer(NOW) == ANSWER


async def test_an_answer_is_not_stored_under_another_merchants_key(ledger: Ledger) -> None:
    key = key_of(ledger)
    await claim(ledger, key)
    async with ledger.database.transaction() as connection:
        await idempotency.store_answer(
            connection, operation_id="op_k", merchant_id="mer_other", mode="test", answer=ANSWER, now=NOW
        )
    found = await stored(ledger, key)
    assert found is not None
    assert found.answer(NOW) is None


async def test_a_refusal_is_an_answer_with_no_operation_behind_it(ledger: Ledger) -> None:
    key, refusal = key_of(ledger), Answer(AnswerKind.AMOUNT_TOO_LARGE, b"{}")
    await claim(ledger, key)
    async with ledger.database.transaction() as connection:
        await idempotency.answer_key(connection, key, answer=refusal, location="/v1/payments/pay_1")
    found = await stored(ledger, key)
    assert found is not None
    assert (found.operation_id, found.answer(NOW)) == (None, refusal)


async def test_old_answers_are_forgotten_and_their_keys_stay(ledger: Ledger) -> None:
    ages = ANSWER_KEPT + timedelta(hours=1), ANSWER_KEPT / 2
    old = [key_of(ledger, f"old{n}", created_at=NOW - ages[0]) for n in range(5)]
    young = key_of(ledger, "young", created_at=NOW - ages[1])
    for key, age in [*((key, ages[0]) for key in old), (young, ages[1])]:
        await claim(ledger, key)
        async with ledger.database.transaction() as connection:
            await idempotency.store_answer(
                connection,
                operation_id=key.operation_id or "",
                merchant_id=key.merchant_id,
                mode=key.mode,
                answer=ANSWER,
                now=NOW - age,
            )

    async def forget(limit: int) -> int:
        async with ledger.database.transaction() as connection:
            return await idempotency.forget_answers(connection, now=NOW, limit=limit)

    assert [await forget(3), await forget(3), await forget(3)] == [3, 2, 0]
    for key in old:
        found = await stored(ledger, key)
        assert found is not None
        assert found.answer(NOW) is None
        assert found.expired(NOW)
        assert not await claim(ledger, key)
    kept = await stored(ledger, young)
    assert kept is not None
    assert kept.answer(NOW) == ANSWER
    assert not kept.expired(NOW)


@pytest.mark.parametrize("waited", [timedelta(days=20), timedelta(days=50)])
async def test_an_answer_that_came_late_is_kept_as_long(ledger: Ledger, waited: timedelta) -> None:
    key = key_of(ledger)
    await claim(ledger, key)
    looks = [NOW + timedelta(days=day) for day in range(120)]
    answered = NOW + waited
    kept = []
    for at in looks:
        async with ledger.database.transaction() as connection:
            if at == answered:
                of = {"merchant_id": key.merchant_id, "mode": key.mode}
                await idempotency.store_answer(
                    connection, operation_id="op_k", **of, answer=ANSWER, now=answered
                )
            await idempotency.forget_answers(connection, now=at, limit=10)
        found = await stored(ledger, key)
        assert found is not None
        kept += [at] if found.answer_body is not None else []
    assert (kept[0], kept[-1]) == (answered, answered + ANSWER_KEPT - timedelta(days=1))


def test_an_unanswered_key_never_expires(ledger: Ledger) -> None:
    assert not key_of(ledger).expired(NOW + timedelta(days=1000))


async def test_a_secret_leaves_the_answer_after_a_day_on_reading_and_at_rest(ledger: Ledger) -> None:
    key = key_of(ledger, "we", created_at=NOW - SECRET_SHOWN + timedelta(minutes=1))
    await claim(ledger, key)
    created = Answer(AnswerKind.ENDPOINT, b'{"id":"we_1","secret":"whsec_x","enabled":true}')
    async with ledger.database.transaction() as connection:
        await idempotency.answer_key(connection, key, answer=created, location="/v1/webhook_endpoints/we_1")
    found = await stored(ledger, key)
    assert found is not None
    later = NOW + timedelta(minutes=2)
    without = Answer(AnswerKind.ENDPOINT, b'{"id":"we_1","enabled":true}')
    assert (found.answer(NOW), found.answer(later)) == (created, without)
    for at, forgotten in ((NOW, 0), (later, 1), (later, 0)):
        async with ledger.database.transaction() as connection:
            assert await idempotency.forget_secrets(connection, now=at, limit=10) == forgotten
    found = await stored(ledger, key)
    assert found is not None
    assert found.answer_body == without.body


@pytest.mark.parametrize(
    ("operation_id", "location", "written"),
    [
        ("pay_1", "/v1/payments/pay_1", None),
        ("re_1", "/v1/refunds/re_1", None),
        ("op_1", "/v1/payments/pay_1", "/v1/payments/pay_1"),  # a capture's, of its payment
        ("op_1", "/v1/disputes/dp_1", "/v1/disputes/dp_1"),
        ("re_1", "/v1/payments/pay_1", "/v1/payments/pay_1"),
        ("pay_1", "", ""),
        (None, "", ""),
    ],
)
async def test_a_path_is_left_out_where_it_derives_from_the_operation_s_id(
    ledger: Ledger, operation_id: str | None, location: str, written: str | None
) -> None:
    """By a process that packs; any process reads the same, and the way back writes it."""
    packed, whole = (key_of(ledger, name, operation_id=operation_id, location=location) for name in "pw")
    packing = Database(ledger.url, pool_size=1, packs=True)
    try:
        async with packing.transaction() as connection:
            assert await idempotency.claim_key(connection, packed)
    finally:
        await packing.close()
    assert await claim(ledger, whole)
    assert await _locations(ledger) == [written, location]
    assert [await stored(ledger, key) for key in (packed, whole)] == [packed, whole]
    async with ledger.database.transaction() as connection:
        await unpacking.unpack_keys(connection, after=(ledger.merchant_id, "", ""))
    assert await _locations(ledger) == [location, location]


async def _locations(ledger: Ledger) -> list[str | None]:
    query = "SELECT location FROM idempotency_keys WHERE merchant_id = :id ORDER BY key"
    rows = await ledger.rows(query, id=ledger.merchant_id)
    return [row.location for row in rows]
