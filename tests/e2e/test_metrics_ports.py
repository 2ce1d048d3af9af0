"""Each process of the stack serves what it counts on a port of its own."""

import functools
import re
from pathlib import Path

import httpx

from devstack.stack import DevStack
from tests.support.eventually import eventually
from tests.support.metrics import metrics_of
from tests.support.servers import running

APIS = ["api", "api-2", "api-3", "api-4"]
PROCESSES = [*APIS, "worker", "relay", "renderer"]
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
JOB = re.compile(r'^payonce_job_last_success_timestamp_seconds\{name="(\w+)"\} (\S+)$', re.M)
ASKED = 30
ALONE = {
    "worker": "payments",
    "relay": "deliveries",
    "renderer": "receipts",
}  # what `JobStands` knows each by


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


async def _all_counted(stack: DevStack, readings: list[list[int]], *, asked: int) -> bool:
    """Whether between them the API processes have answered so many; what each has is one more reading."""
    readings.append([_answered(await metrics_of(stack, name)) for name in PROCESSES])
    return sum(readings[-1][: len(APIS)]) == asked


def _jobs_of_the_page() -> set[str]:
    """The recurring jobs that the operations page says there are."""
    chapter = PAGE.read_text().partition("### Recurring jobs")[2].partition("###")[0]
    rows = [line.split("|")[2] for line in chapter.splitlines() if line.startswith("| ")]
    return {name for cell in rows[1:] for name in re.findall("`([a-z_]+)`", cell)}


async def _jobs(stack: DevStack) -> dict[str, set[str]]:
    """The jobs of each process, once a round of each has ended well."""

    async def ended() -> dict[str, set[str]]:
        found = {name: dict(JOB.findall(await metrics_of(stack, name))) for name in PROCESSES}
        assert [job for jobs in found.values() for job, at in jobs.items() if float(at) == 0] == []
        assert set().union(*found.values()) >= _jobs_of_the_page()
        return {name: set(jobs) for name, jobs in found.items()}

    return await eventually(ended)


async def test_each_process_has_a_metrics_port_of_its_own_that_the_stack_names() -> None:
    async with (
        running(api_processes=len(APIS)) as stack,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        urls = stack.describe()["metrics_urls"]
        assert list(urls) == PROCESSES
        assert len(set(urls.values())) == len(PROCESSES)
        assert (await client.get(f"{stack.api_url}/metrics")).status_code == 404
        headers = {"Authorization": f"Bearer {stack.api_key}", "Connection": "close"}
        readings: list[list[int]] = []
        for asked in range(1, ASKED + 1):
            (await client.get(f"{stack.api_url}/v1/payments", headers=headers)).raise_for_status()
            await eventually(functools.partial(_all_counted, stack, readings, asked=asked))
        for name, *counted in zip(PROCESSES, *readings, strict=True):
            assert counted == sorted(counted), f"a counter of {name} fell"
        assert readings[-1][len(APIS) :] == [0] * (len(PROCESSES) - len(APIS))
        jobs = await _jobs(stack)
        assert set().union(*jobs.values()) == _jobs_of_the_page()
        assert [name for name, job in ALONE.items() if job not in jobs[name]] == []
        assert all("connector_accounts" in found for found in jobs.values())
        await stack.restart("worker")
        await eventually(lambda: _answers(stack, "worker"))
