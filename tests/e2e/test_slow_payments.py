"""Where the time of a payment went is measured stage by stage, in the process that answered it."""

import re

from devstack.stack import DevStack
from tests.e2e.merchant import Merchant, fresh_key
from tests.support.eventually import eventually
from tests.support.metrics import metrics_of

PAYMENTS = 3
ALWAYS = {"read", "place", "risk", "admit", "answer"}
HERE = {"start", "call", "record"}  # where the API's own worker had the workflow, as it should nearly always
_COUNT = re.compile(r'^payonce_payment_stage_seconds_count\{stage="(\w+)"\} (\d+)', re.M)


async def _counts(stack: DevStack) -> dict[str, int]:
    return {stage: int(count) for stage, count in _COUNT.findall(await metrics_of(stack, "api"))}


async def test_each_stage_of_a_payment_is_counted_and_none_of_a_replay(
    stack: DevStack, shop: Merchant
) -> None:
    before = await _counts(stack)

    async def counted(answers: int) -> dict[str, int]:
        now = await _counts(stack)
        assert now["answer"] - before["answer"] == answers
        return {stage: now[stage] - before[stage] for stage in now}

    keys = [fresh_key() for _ in range(PAYMENTS)]
    for key in keys:
        await shop.paid(key=key)
    added = await eventually(lambda: counted(PAYMENTS))
    assert {stage: added[stage] for stage in ALWAYS} == dict.fromkeys(ALWAYS, PAYMENTS)
    assert all(0 < added[stage] <= PAYMENTS for stage in HERE)
    for key in keys:
        await shop.paid(key=key)
    assert await counted(PAYMENTS) == added
