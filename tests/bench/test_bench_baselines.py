"""The baselines of the bench take payments: nothing else starts them, and a release may leave them behind."""

import httpx
import pytest

from bench.surroundings import Setup
from bench.targets import BARE, BASELINES, open_baseline
from bench.traffic import APPROVED, order_body

PAYMENTS = 2


@pytest.mark.parametrize("name", BASELINES)
async def test_a_baseline_takes_payments_and_is_measured(name: str) -> None:
    order = order_body(APPROVED, "automatic")
    async with (
        open_baseline(Setup(delay_ms=0), name) as target,
        httpx.AsyncClient(base_url=target.url, timeout=60, trust_env=False) as client,
    ):
        before = await target.meter.read()
        for number in range(PAYMENTS):
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{name}-{number}"}
            answer = await client.post("/v1/payments", content=order, headers=headers)
            assert answer.is_success, answer.text
        after = await target.meter.read()
    assert after.cpu_s["api"] > before.cpu_s["api"]
    if name != BARE:
        assert after.written["postgres"] >= before.written["postgres"] + PAYMENTS
