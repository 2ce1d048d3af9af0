"""OpenBao is away: who pays with a card whose key it holds waits until it is back, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.e2e.merchant import APPROVED_CARD, Body, Merchant, answered, card, fresh_key, order, refused
from tests.e2e.saving import by, saving_at
from tests.e2e.test_budget import COMMITS_OF_AUTOMATIC, STATEMENTS, UPI, Meter, least, metering
from tests.support.asking import outcome
from tests.support.openbao import StoredOpenBao, stored_openbao
from tests.support.servers import running, server_directory
from tests.support.witness import Witness, witness_of

PAID = [("authorize", 1099), ("capture", 1099)]
WAITING, BESIDE = 4, 8
BETWEEN_RETRIES = 60  # who waits is tried again and again meanwhile, and is counted, too


@dataclass(frozen=True)
class Town:
    """The merchant whose cards are in the vault, another one whose work is counted, and OpenBao."""

    saving: Merchant
    meter: Meter
    bao: StoredOpenBao
    witness: Witness


@pytest.fixture(scope="module")
async def town() -> AsyncIterator[Town]:
    """With an API process alone, so that nothing else is counted."""
    with server_directory() as directory:
        async with (
            stored_openbao(directory) as bao,
            running("postgres", "redis", "temporal", "acquirer", "api", environ=bao.environ) as stack,
            saving_at(stack) as saving,
            metering(stack) as meter,
            witness_of(stack.acquirer_url) as witness,
        ):
            yield Town(saving, meter, bao, witness)


async def is_stopped(bao: StoredOpenBao) -> None:
    await bao.stop()


async def is_started(bao: StoredOpenBao) -> None:
    await bao.start()


async def stands_still(bao: StoredOpenBao) -> None:
    bao.pause()


async def goes_on(bao: StoredOpenBao) -> None:
    bao.resume()


async def is_sealed(bao: StoredOpenBao) -> None:
    await bao.seal()


async def is_unsealed(bao: StoredOpenBao) -> None:
    await bao.unseal()


Change = Callable[[StoredOpenBao], Awaitable[None]]


@pytest.mark.parametrize(
    ("away", "back"), [(is_stopped, is_started), (stands_still, goes_on), (is_sealed, is_unsealed)]
)
async def test_only_what_is_vaulted_waits_and_is_charged_once_openbao_is_back(
    town: Town, away: Change, back: Change
) -> None:
    shop = town.meter.shop

    async def asks_app() -> Body:
        payment = await shop.paid(payment_method=UPI)
        assert payment["status"] == "requires_action"
        return payment

    token = (await town.saving.paid(setup="off_session"))["payment_method"]["card"]["token"]
    keys = [fresh_key() for _ in range(WAITING)]
    await away(town.bao)
    try:
        asked = [town.saving.ask("/v1/payments", order(payment_method=by(token)), key=key) for key in keys]
        beside = [shop.ask("/v1/payments", order()) for _ in range(BESIDE)]
        answers = await asyncio.gather(*asked, *beside)
        waiting = [answered(each, 202) for each in answers[:WAITING]]
        assert {answered(each, 201)["status"] for each in answers[WAITING:]} == {"captured"}
        statements = STATEMENTS["automatic"]
        assert await town.meter.statements(shop.paid, enough=statements, tries=BETWEEN_RETRIES) == statements
        commits = await least(
            lambda: _commits(town.meter), enough=COMMITS_OF_AUTOMATIC, tries=BETWEEN_RETRIES
        )
        assert commits == COMMITS_OF_AUTOMATIC
        in_an_app = STATEMENTS["in an app"]
        assert await town.meter.statements(asks_app, enough=in_an_app, tries=BETWEEN_RETRIES) == in_an_app
        assert [await town.witness.movements(each["id"]) for each in waiting] == [[]] * WAITING
        await _is_not_saved(town.saving)
    finally:
        await back(town.bao)
    for payment, key in zip(waiting, keys, strict=True):
        assert (await town.saving.settled(payment))["status"] == "captured"
        ask = partial(town.saving.ask, "/v1/payments", order(payment_method=by(token)), key=key)
        again = await outcome(ask)
        assert answered(again, 201)["id"] == payment["id"]
        assert await town.witness.movements(payment["id"]) == PAID


async def _is_not_saved(saving: Merchant) -> None:
    """Neither with a payment nor alone; the key may be used again."""
    key = fresh_key()
    with_payment = await saving.ask("/v1/payments", order(setup="on_session"), key=key)
    alone = {"type": "card", "card": card(APPROVED_CARD)["card"]}
    for answer in (with_payment, await saving.ask("/v1/payment_methods", alone)):
        refused(answer, 503, "unavailable")
    assert answered(await saving.ask("/v1/payments", order(), key=key), 201)["status"] == "captured"


async def _commits(meter: Meter) -> int:
    return (await meter.commits(meter.shop.paid))[1]
