"""A suite that every risk provider passes. Inherit, and give it a provider and a view:

class TestOurProvider(RiskConformance):
    @pytest.fixture
    def provider(self) -> RiskProvider: ...

    @pytest.fixture
    def options(self) -> Mapping[str, Any]: ...
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from payonce.domain.risk import ASKED_WITHIN_S, Policy, RiskSubjects
from payonce.risk.asking import Assessor, is_possible
from payonce.risk.base import RiskProvider, RiskView

PATIENCE_S = 5.0  # of a suite, on a slow machine


class RiskConformance:
    """What the asking relies on."""

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {}

    @pytest.fixture
    def view(self) -> RiskView:
        return RiskView(
            payment_id="pay_conformance",
            merchant_id="mer_conformance",
            mode="test",
            amount_minor=1_099,
            currency="INR",
            method="card",
            brand="visa",
            first6="424242",
            last4="4242",
            customer={"id": "c-1"},
            ip="203.0.113.9",
            subjects=RiskSubjects("card", "customer", "address", "member"),
        )

    async def test_it_has_a_name(self, provider: RiskProvider) -> None:
        assert provider.name.isidentifier()

    async def test_it_gives_a_verdict_with_reasons_that_may_be_shown(
        self, provider: RiskProvider, view: RiskView, options: Mapping[str, Any]
    ) -> None:
        async with asyncio.timeout(PATIENCE_S):
            assert is_possible(await provider.ask(view, options))

    async def test_it_says_the_same_of_the_same_payment(
        self, provider: RiskProvider, view: RiskView, options: Mapping[str, Any]
    ) -> None:
        said = [await provider.ask(view, options) for _ in range(3)]
        assert {one.verdict for one in said} == {said[0].verdict}

    async def test_it_can_be_cancelled_at_any_moment(
        self, provider: RiskProvider, view: RiskView, options: Mapping[str, Any]
    ) -> None:
        asked = asyncio.create_task(provider.ask(view, options))
        await asyncio.sleep(0)
        asked.cancel()
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE_S)
        assert done

    async def test_it_answers_in_time_or_is_not_waited_for(
        self, provider: RiskProvider, view: RiskView, options: Mapping[str, Any]
    ) -> None:
        policy = Policy(providers=(provider.name,), options={provider.name: options})
        assessor = Assessor({provider.name: provider}, within_s=ASKED_WITHIN_S)
        assert await assessor.ask(view, policy) is not None
