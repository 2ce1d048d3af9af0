"""`payonce trigger` against the running product: each event that it promises comes, from real requests."""

import asyncio

import pytest

from devstack.stack import DevStack
from payonce.cli.trigger import RECIPES, Shop, recipe_for
from tests.e2e.merchant import Merchant
from tests.support.forks import ran

WITHIN_S = 60.0


async def test_every_event_that_can_be_triggered_comes(
    shop: Merchant, capsys: pytest.CaptureFixture[str]
) -> None:
    developer = Shop(shop.client)

    async def triggered(type_: str) -> str:
        event = await developer.event_of(await recipe_for(type_)(developer), type_)
        return str(event["type"])

    assert await asyncio.gather(*map(triggered, RECIPES)) == list(RECIPES)
    assert capsys.readouterr().out.count("pay_") >= len(RECIPES)


async def test_the_command_says_what_it_made(stack: DevStack) -> None:
    environ = {"PAYONCE_API_URL": stack.api_url, "PAYONCE_API_KEY": stack.api_key}
    ended = await ran("payonce", "trigger", "refund.succeeded", environ=environ, within_s=WITHIN_S)
    payment, refund, event = (line.split() for line in ended.out.splitlines())
    assert ended.status == 0
    assert (payment[0][:4], payment[-1]) == ("pay_", "captured")
    assert (refund[0][:3], refund[-1]) == ("re_", "succeeded")
    assert (event[0][:4], event[-1]) == ("evt_", "refund.succeeded")
