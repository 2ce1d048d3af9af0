"""What lists and plain rules say holds although Redis is away, slow or asked too often."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from payonce.domain.risk import Assessment, Choices, Policy, RiskVerdict
from payonce.risk.asking import OPEN_MAX, Assessor
from payonce.risk.base import NoVerdict, RiskView
from payonce.risk.rules import RuleBook

V = RiskVerdict
OFTEN = {"of": "card", "count": "attempts", "within_s": 60, "more_than": 3}
RULES = [
    {"name": "large", "verdict": "review", "amount_over": 100_000, "currency": "INR"},
    {"name": "often", "verdict": "block", "velocities": [OFTEN]},
]
LARGE = RiskView(
    payment_id="pay_1",
    merchant_id="mer_1",
    mode="test",
    amount_minor=500_000,
    currency="INR",
    method="card",
)
LISTED = replace(LARGE, listed={"customer": "block"})


@dataclass
class Counts:
    """Of a Redis that does not know, or does not answer."""

    hangs: bool = False

    async def count(self, *_: Any) -> None:
        if self.hangs:
            await asyncio.Event().wait()

    async def close(self) -> None:
        return None


class Often:
    """Counts that answer once so many ask for them at the same time: all is over every limit."""

    def __init__(self) -> None:
        self.asked, self.answers = 0, asyncio.Event()

    async def count(self, *arguments: Any) -> Any:
        self.asked += 1
        await self.answers.wait()
        return dict.fromkeys(arguments[-1], 900)

    async def waited_for(self, many: int) -> None:
        while self.asked < many:  # ends with the test's own time limit
            await asyncio.sleep(0)
        self.answers.set()

    async def close(self) -> None:
        return None


def assessor(*, hangs: bool) -> Assessor:
    return Assessor({"rules": RuleBook(cast("Any", Counts(hangs)))}, within_s=0.02)


def policy(without_answer: Any = "open", rules: Any = RULES) -> Policy:
    choices = Choices(without_answer=without_answer)
    return Policy(providers=("rules",), choices=choices, options={"rules": {"rules": rules}})


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_rule_that_needs_no_counts_holds_a_payment_without_them(hangs: bool) -> None:
    """Else what is to be held would be captured whenever Redis was flushed."""
    said = await assessor(hangs=hangs).ask(LARGE, policy())
    assert said == Assessment(verdict=V.REVIEW, reasons=("large",), provider="rules")
    assert await assessor(hangs=hangs).ask(LARGE, policy("closed")) is None
    small = await assessor(hangs=hangs).ask(replace(LARGE, amount_minor=1), policy())
    assert said is not None
    assert small == Assessment(verdict=V.ALLOW, reasons=("no_answer",), provider="rules")


@pytest.mark.parametrize("without_answer", ["open", "closed"])
async def test_who_is_on_a_block_list_is_blocked_although_redis_hangs(without_answer: str) -> None:
    said = await assessor(hangs=True).ask(LISTED, policy(without_answer))
    assert said is not None
    assert (said.verdict, said.reasons) == (V.BLOCK, ("listed_customer",))


async def test_nobody_on_a_block_list_slips_through_in_a_crowd() -> None:
    """More at once than are asked at once."""
    asked = assessor(hangs=True)
    said = await asyncio.gather(*(asked.ask(LISTED, policy()) for _ in range(OPEN_MAX + 10)))
    assert {one and one.verdict for one in said} == {V.BLOCK}


async def test_no_crowd_switches_the_built_in_rules_off() -> None:
    """Neither many payments at once, nor a service that hangs for each of them."""

    class Hangs:
        name = "http"

        async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
            await often.answers.wait()
            raise NoVerdict

        async def close(self) -> None:
            return None

    often, together = Often(), OPEN_MAX * 3
    asked = Assessor({"rules": RuleBook(cast("Any", often)), "http": Hangs()}, within_s=60.0)
    both = replace(policy(), providers=("rules", "http"))
    asking = [asyncio.create_task(asked.ask(replace(LARGE, amount_minor=1), both)) for _ in range(together)]
    await often.waited_for(together)
    said = await asyncio.gather(*asking)
    assert {(one and one.verdict, one and one.reasons) for one in said} == {(V.BLOCK, ("often",))}


async def test_lists_hold_where_the_stored_rules_cannot_be_read() -> None:
    said = await assessor(hangs=False).ask(LISTED, policy(rules=[{"name": "of a later version"}]))
    assert said is not None
    assert said.verdict is V.BLOCK


@pytest.mark.parametrize(
    "says",
    [
        {"reasons": None},
        {"provider": object()},
        {"provider": "4242424242424242"},
        {"provider": "x" * 101},
        {"provider": "\0"},
    ],
    ids=["no reasons", "no text", "a card's number", "long", "not printable"],
)
async def test_what_cannot_be_kept_is_no_answer_and_no_error(says: dict[str, Any]) -> None:
    class Wrong:
        name = "wrong"

        async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
            return Assessment(verdict=V.BLOCK, **says)

        async def close(self) -> None:
            return None

    said = await Assessor({"wrong": Wrong()}).ask(LARGE, Policy(providers=("wrong",)))
    assert said == Assessment(verdict=V.ALLOW, reasons=("no_answer",), provider="wrong")
