"""What a merchant is told while a part is away stays true: judged by the acquirer's ledger."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import dropwhile

import httpx
import psycopg
import pytest

from devstack.postgres import server_url
from devstack.stack import DevStack
from tests.faults import deeds
from tests.faults.balancer import balancing
from tests.faults.books import at_rest
from tests.faults.deeds import DEEDS, Asked, Deed
from tests.faults.shop import WITHIN_S, Shop, new_payment, patiently
from tests.support.asking import ASK_AGAIN_S, is_definite
from tests.support.witness import Witness

UPI = {"type": "upi", "upi": {"flow": "intent"}}
FAILURES = 3  # of a loop, until it is believed to survive them
GIVES_UP_S = 1.0
SLOW = {"sandbox_fault": "authorize:slow:2500,refund:slow:2500"}  # within the call's deadline
LOOPS = {"worker": "sweep_failed", "relay": "relay_storage_unavailable"}


@asynccontextmanager
async def read_only(city: DevStack) -> AsyncIterator[None]:
    """The primary takes no writes while the block runs, as one that was demoted."""
    url = server_url(city.port("postgres"), "postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await connection.execute("SELECT pg_reload_conf()")


async def test_while_the_primary_is_read_only_nothing_is_promised_and_nobody_dies(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    """POSTs were answered 500, and the worker and the relay ended."""
    asked = [await deed.prepare(shop) for deed in DEEDS]
    pids = city.pids
    before = {name: _failures(city, name) for name in LOOPS}
    async with read_only(city):
        await patiently(lambda: _refuses(shop), within_s=60.0)
        for _ in range(2):
            for response in await asyncio.gather(*(one.send(shop) for one in asked)):
                assert response is not None
                assert (response.status_code, response.json()["code"]) == (504, "outcome_unknown")
        assert (await shop.client.get(f"{shop.url}/v1/payments/{asked[-1].payment_id}")).status_code == 200
        ready = await shop.client.get(f"{shop.url}/readyz")
        assert (ready.status_code, ready.json()["dependencies"]["postgres"]) == (200, "ok")

        async def loops_failed() -> bool:
            return all(_failures(city, name) >= before[name] + FAILURES for name in LOOPS)

        await patiently(loops_failed, within_s=60.0)
    for one in asked:
        one.check_done(await one.answered(shop), await at_rest(shop, ledger, one.payment_id))
    assert city.pids == pids


async def _refuses(shop: Shop) -> bool:
    response = await shop.create(shop.key("refused"))
    return response is not None and response.status_code == httpx.codes.GATEWAY_TIMEOUT


def _failures(city: DevStack, name: str) -> int:
    """How often the process has logged that a look of its loop failed."""
    return (city.log_dir / f"{name}.log").read_text().count(LOOPS[name])


async def test_without_temporal_the_balancer_still_finds_who_answers(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    """Every process left it, so that what needs nothing in memory could not be accepted either."""
    async with balancing(city, shop) as balancer:
        upi, card = shop.key("upi"), shop.key("card")
        await city.kill("temporal")
        try:

            async def all_know() -> bool:  # what was found a moment ago is said again
                states = await balancer.states()
                assert all((at, said["status"], said["faults"]) == (200, "ready", []) for at, said in states)
                return all(said["dependencies"]["temporal"] != "ok" for _, said in states)

            await patiently(all_know, within_s=60.0)
            accepted = await balancer.post("/v1/payments", new_payment(payment_method=UPI), key=upi)
            assert accepted.status_code == 202, accepted.text
            assert accepted.json()["status"] == "processing"
            refused = await balancer.post("/v1/payments", new_payment(), key=card)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        finally:
            await city.start("temporal")
        assert (await shop.created(key=card)) == shop.payment_id(card)
        assert (await at_rest(shop, ledger, shop.payment_id(card))).movements == deeds.CAPTURED
        asks = await shop.answered("/v1/payments", new_payment(payment_method=UPI), key=upi)
        assert (asks.status_code, asks.json()["status"]) == (201, "requires_action"), asks.text


@pytest.mark.parametrize("deed", [deeds.AUTOMATIC, deeds.REFUND], ids=lambda deed: deed.name)
async def test_who_gave_up_is_not_told_503_by_a_postgres_that_stands_still(
    city: DevStack, shop: Shop, ledger: Witness, deed: Deed
) -> None:
    """It said "not admitted, or given back unsent", and 12 s later the payment was captured."""
    one = await deed.prepare(shop, metadata=SLOW)
    await _given_up(shop, one)
    city.pause("postgres")
    try:
        response = await one.send(shop)
    finally:
        city.resume("postgres")
    assert response is not None
    assert (response.status_code, response.json()["code"]) == (504, "outcome_unknown")
    one.check_done(await one.answered(shop), await at_rest(shop, ledger, one.payment_id))


async def _given_up(shop: Shop, one: Asked) -> None:
    """The request was sent, and its client waits no longer."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(GIVES_UP_S):
            await one.send(shop)


@pytest.mark.parametrize("deed", [deeds.CAPTURE, deeds.VOID, deeds.REFUND], ids=lambda deed: deed.name)
async def test_a_change_that_was_accepted_is_never_answered_503_whoever_is_killed(
    city: DevStack, shop: Shop, ledger: Witness, deed: Deed
) -> None:
    """Its answers went 202, 503, 202, 200."""
    one = await deed.prepare(shop, metadata={"sandbox_fault": f"{deed.kind}:timeout_after_charge"})
    answers: list[httpx.Response | None] = []
    asking = asyncio.create_task(_ask_until_answered(shop, one, answers))

    async def accepted() -> bool:
        return any(answer is not None and answer.status_code == 202 for answer in answers)

    await patiently(accepted, within_s=WITHIN_S)
    for part in ("temporal", "api-2", "postgres", "worker"):
        await city.restart(part)
    response = await asking
    one.check_done(response, await at_rest(shop, ledger, one.payment_id))
    statuses = [answer.status_code for answer in answers if answer is not None]
    since_accepted = Counter(dropwhile(lambda status: status != 202, statuses))
    assert not since_accepted.keys() - {202, 504, deed.status}, statuses


async def _ask_until_answered(shop: Shop, one: Asked, answers: list[httpx.Response | None]) -> httpx.Response:
    """The definite answer; every answer on the way is in `answers`."""

    async def ask() -> httpx.Response | None:
        answers.append(response := await one.send(shop))
        return response if response is not None and is_definite(response) else None

    async with asyncio.timeout(WITHIN_S):
        while (answered := await ask()) is None:
            await asyncio.sleep(ASK_AGAIN_S)
        return answered
