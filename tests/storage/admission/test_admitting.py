"""Admission under the payment's row lock, with Temporal away: every limit holds, whatever runs in parallel."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from api.admission.admission import Admission
from api.admission.waiting import Result, Unavailable
from payonce.accounts import Accounts
from payonce.domain.cards import NetworkToken
from payonce.domain.errors import InvalidRequest, OperationInProgress
from payonce.domain.operations import AttemptState
from payonce.domain.payment import PaymentStatus
from tests.storage.acting import CAPABILITIES, FakeConnector
from tests.storage.admitting import NEW, NoTemporal, Shop, post
from tests.storage.ledger import Ledger, runtime_of

WALLETS = replace(CAPABILITIES, methods=frozenset({"wallet.apple_pay"}))


@pytest.fixture
async def admission(ledger: Ledger) -> AsyncIterator[Admission]:
    runtime, temporal = runtime_of(ledger), NoTemporal()
    away: Any = temporal
    yield Admission(runtime, away)
    await runtime.recorder.drain()


async def test_forty_refunds_at_once_never_exceed_what_was_captured(
    ledger: Ledger, admission: Admission
) -> None:
    """Fails without `with_for_update`: each would see all of it refundable."""
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)

    async def refund(number: int) -> Result:
        return await admission.refund(
            post(ledger, f"k{number}"), paid.id, amount_minor=70, reason=None, metadata={}
        )

    results = await asyncio.gather(*(refund(number) for number in range(40)))
    kinds = Counter(result.answer.kind if result.answer else "202" for result in results)
    assert kinds == {"202": 14, "amount_too_large": 26}
    admitted = await ledger.rows("SELECT coalesce(sum(amount_minor), 0) AS held FROM operations")
    assert admitted[0].held == 14 * 70
    after = await ledger.payment(paid.id)
    assert (after.amount_refund_pending_minor, after.refundable_minor) == (980, 20)


async def test_of_a_capture_and_a_void_at_once_one_is_admitted(ledger: Ledger, admission: Admission) -> None:
    paid = await ledger.add_payment(PaymentStatus.AUTHORIZED)
    asked = [
        admission.capture(post(ledger, f"c{n}"), paid.id, amount_minor=None, final=True) for n in range(5)
    ] + [admission.void(post(ledger, f"v{n}"), paid.id, reason=None) for n in range(5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [result for result in results if isinstance(result, OperationInProgress)]
    assert len(refused) == 9
    assert await ledger.count("operations") == 1
    assert await ledger.count("idempotency_keys") == 1  # what is refused as in progress uses no key up


async def test_one_key_at_once_is_one_refund(ledger: Ledger, admission: Admission) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    asked = [
        admission.refund(post(ledger, "same"), paid.id, amount_minor=100, reason=None, metadata={})
        for _ in range(10)
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [result for result in results if isinstance(result, Result)]
    assert await ledger.count("operations") == 1
    assert (await ledger.payment(paid.id)).amount_refund_pending_minor == 100


async def test_a_refund_that_nobody_carries_out_yet_is_pending_and_is_not_lost(
    ledger: Ledger, admission: Admission
) -> None:
    paid = await ledger.add_payment(PaymentStatus.CAPTURED)
    result = await admission.refund(post(ledger, "k"), paid.id, amount_minor=100, reason=None, metadata={})
    assert result.answer is None
    assert result.current is not None
    assert json.loads(result.current)["status"] == "pending"
    assert [type_ for _, type_ in await ledger.events(paid.id)] == ["refund.pending"]
    assert len(await ledger.rows("SELECT id FROM operations WHERE sweep_at < now() + interval '15 s'")) == 1


@pytest.mark.parametrize(
    ("cannot", "kind", "status"),
    [
        ("split_capture", "capture", PaymentStatus.AUTHORIZED),
        ("partial_capture", "capture", PaymentStatus.AUTHORIZED),
        ("void", "void", PaymentStatus.AUTHORIZED),
        ("partial_refund", "refund", PaymentStatus.CAPTURED),
    ],
)
async def test_what_the_rail_cannot_do_is_refused_and_admits_nothing(
    ledger: Ledger, cannot: str, kind: str, status: PaymentStatus
) -> None:
    rail = FakeConnector(capabilities=replace(CAPABILITIES, **{cannot: False}))
    runtime = replace(runtime_of(ledger), accounts=Accounts(connectors={"account_1": rail}))
    temporal: Any = NoTemporal()
    admission = Admission(runtime, temporal)
    paid = await ledger.add_payment(status)
    posts = {
        "capture": lambda: admission.capture(post(ledger, "k"), paid.id, amount_minor=1, final=False),
        "void": lambda: admission.void(post(ledger, "k"), paid.id, reason=None),
        "refund": lambda: admission.refund(
            post(ledger, "k"), paid.id, amount_minor=1, reason=None, metadata={}
        ),
    }
    with pytest.raises(InvalidRequest) as refused:
        await posts[kind]()
    assert refused.value.problem_code == (
        "operation_not_supported" if kind == "void" else "amount_not_supported"
    )
    assert await ledger.count("operations") == 0


async def test_a_wallet_payment_that_was_given_back_shows_the_card_of_the_token_that_is_charged(
    ledger: Ledger,
) -> None:
    shop = Shop(ledger, connector=FakeConnector(capabilities=WALLETS), temporal=NoTemporal())
    with pytest.raises(Unavailable):
        await _by_wallet(shop, "visa", "4242424242424242")
    with pytest.raises(Unavailable):
        await _by_wallet(shop, "mastercard", "5555555555554444")
    assert await shop.latest() == (2, AttemptState.NOT_SENT)
    shown = (await ledger.payment(shop.payment_id)).payment_method["wallet"]
    assert shown == {"provider": "apple_pay", "brand": "mastercard", "last4": "4444"}


async def _by_wallet(shop: Shop, brand: str, number: str) -> Result:
    shown = {"provider": "apple_pay", "brand": brand, "last4": number[-4:]}
    new = replace(
        NEW,
        card=None,
        network_token=NetworkToken(number, 12, 2040, "cryptogram-of-one-payment"),
        method="wallet.apple_pay",
        payment_method={"type": "wallet", "wallet": shown},
    )
    return await shop.admission.create_payment(post(shop.ledger, "k"), new)
