"""What a request without a place still learns, and who keeps a place."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from api.admission.overload import AdaptiveLimit
from api.admission.requests import KeyInUse
from api.admission.waiting import Result, Unavailable
from api.http.rate_limits import TooManyRequests
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.storage import attempts
from tests.storage.admitting import NoTemporal, Shop, post
from tests.storage.ledger import Ledger, subject
from tests.support.eventually import eventually
from tests.support.rows import approval

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the process has no place for anybody."""
    return lambda: monkeypatch.setattr("api.admission.overload.WAITING_MAX", 0)


async def test_without_a_place_a_key_gets_its_answer_and_nothing_is_admitted(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.PROCESSING)
    known = post(ledger, "known")
    refused = await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    no_places()
    again = await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    assert (again.answer, again.replayed) == (refused.answer, True)
    with pytest.raises(TooManyRequests):
        await shop.admission.void(post(ledger, "new"), paid.id, reason=None)
    assert await ledger.count("idempotency_keys") == 1


async def test_without_a_place_a_key_that_is_under_way_is_in_use(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    """A 503 would say that nothing was admitted; so would one for a key that another process is about to admit."""
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.AUTHORIZED)
    busy = await _capturing(shop, paid.id)
    no_places()
    with pytest.raises(KeyInUse):
        await shop.capture(paid.id)
    busy.cancel()
    await asyncio.wait({busy})


async def test_without_a_place_only_a_few_may_ask_for_their_answer(
    ledger: Ledger, no_places: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.PROCESSING)
    known = post(ledger, "known")
    await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    no_places()
    monkeypatch.setattr("api.admission.admission.LOOKING_UP_MAX", 0)
    with pytest.raises(TooManyRequests):
        await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})


async def test_without_a_place_a_create_that_was_given_back_is_left_for_later(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    """A further attempt may be claimed for it any moment: neither in use nor refused for good."""
    shop = Shop(ledger, temporal=NoTemporal())
    with pytest.raises(Unavailable):
        await shop.create("req_1")
    no_places()
    with pytest.raises(TooManyRequests):
        await shop.create("req_2")
    assert await shop.latest() == (1, A.NOT_SENT)


async def test_who_waits_for_another_requests_outcome_keeps_no_place(ledger: Ledger) -> None:
    """`Prefer: wait` of one merchant's pending operation refused every other merchant for 30 s."""
    shop = Shop(ledger, in_flight_max=4)
    paid, other = await ledger.add_payment(S.AUTHORIZED), await ledger.add_payment(S.PROCESSING)
    first = await _capturing(shop, paid.id)
    patient = replace(post(ledger, "c"), wait_s=20.0)
    waiting = [
        asyncio.create_task(shop.admission.capture(patient, paid.id, amount_minor=None, final=True))
        for _ in range(4)
    ]

    async def all_wait() -> bool:
        return shop.admission._waiting == len(waiting)

    await eventually(all_wait)
    refused = await shop.admission.refund(
        post(ledger, "r"), other.id, amount_minor=1, reason=None, metadata={}
    )
    assert refused.answer is not None
    for task in (first, *waiting):
        task.cancel()
    await asyncio.wait({first, *waiting})


async def test_the_limit_does_not_follow_a_call_that_another_process_makes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture's workflow is mostly in another process' cache: how long its acquirer took nobody knows here."""
    seen: list[float] = []
    monkeypatch.setattr(AdaptiveLimit, "observe", lambda _self, own_s, **_times: seen.append(own_s))
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.AUTHORIZED)
    request = await _capturing(shop, paid.id)
    of = await ledger.operation((await ledger.rows("SELECT id FROM operations"))[0].id)
    async with ledger.database.transaction() as connection:
        await attempts.insert_claim(
            connection, of, number=1, connector="c", connector_account="account_1", owner="boot_b", token="t"
        )
    await shop.runtime.recorder.record(subject(of), attempt=1, fact=approval(of))
    assert (await request).answer is not None
    assert not seen


async def _capturing(shop: Shop, payment_id: str) -> "asyncio.Task[Result]":
    """A capture that is admitted, as the only operation there, and waits for its outcome."""
    capturing = asyncio.create_task(shop.capture(payment_id))

    async def admitted() -> bool:
        return await shop.ledger.count("operations") == 1

    await eventually(admitted)
    return capturing
