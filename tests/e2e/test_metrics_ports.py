"""Each process of the stack serves what it counts on a port of its own."""

import re

import httpx

from devstack.stack import DevStack
from tests.support.eventually import eventually
from tests.support.metrics import metrics_of
from tests.support.servers import running

PROCESSES = ["api", "api-2", "worker", "relay"]
ASKED = 20


def _answered(metrics: str) -> int:
    """How many lists of payments the process has answered."""
    found = re.search(
        r'^payonce_http_requests_total\{method="GET",route="/v1/payments",status="200"\} (\d+)', metrics, re.M
    )
    return int(found[1]) if found else 0


async def _answers(stack: DevStack, name: str) -> bool:
    """On the port that it had before."""
    try:
        return bool(await metrics_of(stack, name))
    except httpx.ConnectError:
        return False


async def test_each_process_has_a_metrics_port_of_its_own_that_the_stack_names() -> None:
    async with running(api_processes=2) as stack, httpx.AsyncClient(trust_env=False) as client:
        urls = stack.describe()["metrics_urls"]
        assert list(urls) == PROCESSES
        assert len(set(urls.values())) == len(PROCESSES)
        assert (await client.get(f"{stack.api_url}/metrics")).status_code == 404
        headers = {"Authorization": f"Bearer {stack.api_key}", "Connection": "close"}
        for _ in range(ASKED):
            (await client.get(f"{stack.api_url}/v1/payments", headers=headers)).raise_for_status()
        counted = [_answered(await metrics_of(stack, name)) for name in PROCESSES]
        assert sum(counted[:2]) == ASKED, "between them, and each of them always the same"
        assert counted[2:] == [0, 0]
        await stack.restart("worker")
        await eventually(lambda: _answers(stack, "worker"))
