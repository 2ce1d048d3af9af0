"""The whole bench: every target, one after another, in one run on one machine."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench import machine
from bench.plan import Bench, Pace, Report
from bench.sides import OURS, THEN
from bench.surroundings import Setup
from bench.targets import BASELINES, PAYONCE, Target, open_baseline, open_null, open_payonce
from bench.temporal_server import DEVELOPMENT, POSTGRES
from bench.traffic import Kind
from bench.turns import Turns, as_json
from devstack.errors import StackError

FORMAT = 1
CALIBRATION_PER_S = 200.0
COMMON_PER_S = 10.0  # a rate that every target holds: at it their latencies are compared
HALF, SEVENTY = 0.5, 0.7


@dataclass(frozen=True, slots=True)
class Everything:
    """What a run covers, and how."""

    setup: Setup
    pace: Pace
    mix: Mapping[Kind, float]
    api_processes: int
    seed: int
    turns: Turns
    report: Report

    async def figures(self) -> dict[str, Any]:
        """Every figure; takes about 20 minutes at the usual pace."""
        began, where = datetime.now(UTC), machine.described()
        saturated = await self._saturated()
        generator = await self._calibration()
        targets = {name: await self._baseline(name) for name in BASELINES}
        targets[PAYONCE] = await self._payonce()
        counts = range(2, self.api_processes + 1)
        return {
            "format": FORMAT,
            "at": began.isoformat(timespec="seconds"),
            "commit": machine.commit(),
            "machine": where,
            "settings": self._settings(),
            "generator": generator,
            "saturated": saturated,
            "targets": targets,
            "scaling": [await self._scaling(count) for count in counts],
        }

    async def _saturated(self) -> dict[str, Any] | None:
        """CPU where there is no more, of ours and of the baselines as they once were, in turn; None without them."""
        try:
            return as_json(await self.turns.taken((*THEN, OURS), self.setup.server, self.report))
        except StackError as error:
            self.report(f"not compared with {THEN[0].revision}: {error}")
            return None

    async def _calibration(self) -> dict[str, Any]:
        """The generator against a server that answers at once: what it costs, and what it cannot see below."""
        async with self._bench(open_null()) as bench:
            return await bench.load(CALIBRATION_PER_S, seconds=self.pace.step_s)

    async def _baseline(self, name: str) -> dict[str, Any]:
        async with self._bench(open_baseline(self.setup, name)) as bench:
            return await self._saturation(bench)

    async def _payonce(self) -> dict[str, Any]:
        async with self._bench(open_payonce(self.setup)) as bench, open_null() as sink:
            idle = await bench.idle()
            found = await self._saturation(bench)
            rate_per_s = found["saturation_per_s"]
            found |= {
                "idle_cores": idle,
                "loads": [await bench.load(rate_per_s * share) for share in self.pace.shares],
                "kinds": await bench.kinds(),
                "mix": await bench.load(rate_per_s * HALF, self.mix),
                "webhooks": await bench.with_webhooks(rate_per_s * HALF, sink.url),
                "overload": await bench.overload(rate_per_s),
            }
            return found

    async def _scaling(self, api_processes: int) -> dict[str, Any]:
        async with self._bench(open_payonce(self.setup, api_processes=api_processes)) as bench:
            found = await self._saturation(bench)
            at_seventy = await bench.load(found["saturation_per_s"] * SEVENTY)
            return {"api_processes": api_processes, **found, "seventy": at_seventy}

    async def _saturation(self, bench: Bench) -> dict[str, Any]:
        """Where it stops keeping up, and how it is at half of that and at the common rate."""
        common = await bench.load(COMMON_PER_S)
        held_per_s = await bench.saturate()
        if not held_per_s:
            raise RuntimeError(f"{bench.target.name} held no rate at all: is the machine busy otherwise?")
        half = await bench.load(held_per_s * HALF)
        return {
            "saturation_per_s": round(held_per_s, 1),
            "steps": bench.steps,
            "common": common,
            "half": half,
        }

    @asynccontextmanager
    async def _bench(self, opening: AbstractAsyncContextManager[Target]) -> AsyncIterator[Bench]:
        """A target that runs and is warm."""
        async with opening as target:
            self.report(f"{target.name}: started")
            bench = Bench(target, self.pace, seed=self.seed, report=self.report)
            try:
                await bench.warm_up()
                yield bench
            finally:
                bench.close()

    def _settings(self) -> dict[str, Any]:
        return {
            "acquirer_delay_ms": self.setup.delay_ms,
            "temporal": DEVELOPMENT if self.setup.server is None else POSTGRES,
            "product_environ": dict(self.setup.product_environ),
            "mix": {kind.value: weight for kind, weight in self.mix.items()},
            "seed": self.seed,
        }
