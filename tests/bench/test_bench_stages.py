"""What API processes count and log becomes a table of stages, and slow payments one by one."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import start_http_server

from bench.stages import METRIC, Stages


class Process:
    """Serves stages as an API process does."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._seconds = Histogram(METRIC, "x", ["stage"], buckets=(0.01, 0.02, 0.1), registry=registry)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def passes(self, stages_s: Mapping[str, float], *, times: int = 1) -> None:
        for _ in range(times):
            for stage, seconds in stages_s.items():
                self._seconds.labels(stage).observe(seconds)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made = [Process(), Process()]
    yield made
    for process in made:
        process.close()


async def test_what_was_added_since_is_shown_of_all_processes_together(processes: list[Process]) -> None:
    stages = Stages([process.url for process in processes], [])
    processes[0].passes({"admit": 5.0}, times=50)  # before: not of this load
    before = await stages.seen()
    processes[0].passes({"admit": 0.005, "call": 0.015}, times=49)
    processes[1].passes({"admit": 0.005, "call": 0.015}, times=49)
    processes[1].passes({"admit": 0.05, "call": 5.0}, times=2)
    found = await stages.since(before)
    assert found["stages_ms"] == {
        "admit": {"p50": 5.1, "p99": pytest.approx(60.0)},
        "call": {"p50": 15.1, "p99": 100.0},  # beyond the last bound nothing is known
    }


async def test_slow_payments_since_are_read_from_the_logs_the_slowest_first(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    told = {"event": "payment_was_slow", "request_id": "req_1", "untold": 0}
    log.write_text(json.dumps({**told, "own_ms": 900.0}) + "\n")
    stages = Stages([], [log])
    before = await stages.seen()
    with log.open("a") as file:
        file.write("not of ours\n")
        file.write(json.dumps({**told, "own_ms": 210.0, "admit_ms": 200.0}) + "\n")
        file.write(json.dumps({**told, "own_ms": 310.0, "start_ms": 300.0}) + "\n")
    found = await stages.since(before)
    assert found["slow"] == [{"own_ms": 310.0, "start_ms": 300.0}, {"own_ms": 210.0, "admit_ms": 200.0}]
