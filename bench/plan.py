"""The phases of a bench run, and what each finds out."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from bench import measure, saturation
from bench.generator import Generator
from bench.samples import Run, is_held, normal_after_s, summary
from bench.schedule import Load
from bench.targets import Target
from bench.traffic import Kind

HELD_P99_S = 0.5  # of own time: beyond it a rate does not count as held
HELD_SHARE = 0.99  # of the answers, the expected one
NORMAL_OWN_S = 0.2
OVERLOAD = 3.0
AFTER_OVERLOAD = 0.5
WARM_UP_PER_S, WARM_UP_S = 20.0, 2.0
STOCK_PER_S = 40.0
REPLAYS = 5.0  # as many as other requests: one costs so little that what runs anyway would count for more
UNFINISHED_WITHIN_S = 30.0
FIRST_RATE_PER_S = 30.0
Report = Callable[[str], None]

AUTOMATIC: Final[Mapping[Kind, float]] = {Kind.AUTOMATIC: 1.0}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each phase takes, and how finely it looks."""

    step_s: float = 6.0
    load_s: float = 20.0
    kind_s: float = 10.0
    kind_per_s: float = 20.0
    overload_s: float = 10.0
    idle_s: float = 8.0
    growth: float = 1.4
    refinements: int = 3
    answers: int = 1_000  # at least, that a p99 rests on
    shares: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)

    def seconds(self, rate_per_s: float, least_s: float) -> float:
        """How long this rate is kept up, so that enough of it is answered."""
        return max(least_s, self.answers / rate_per_s)


SHORT = Pace(
    step_s=4,
    load_s=8,
    kind_s=5,
    overload_s=8,
    idle_s=4,
    growth=1.6,
    refinements=2,
    answers=300,
    shares=(0.5, 0.7, 0.9),
)
QUICK = Pace(
    step_s=2,
    load_s=3,
    kind_s=3,
    kind_per_s=10,
    overload_s=3,
    idle_s=2,
    growth=2,
    refinements=1,
    answers=1,
    shares=(0.5, 0.7),
)


class Bench:
    """One target under one generator."""

    def __init__(self, target: Target, pace: Pace, *, seed: int, report: Report) -> None:
        self.target = target
        self._pace = pace
        self._seed = seed
        self._report = report
        self._generator = Generator(host=target.host, port=target.port, shop=target.shop)
        self.steps: list[dict[str, Any]] = []

    def close(self) -> None:
        self._generator.close()

    async def warm_up(self) -> None:
        """Connections are open, code and caches are warm; nothing of it is measured."""
        await self._send(Load(WARM_UP_PER_S, WARM_UP_S, self._seed), AUTOMATIC)

    async def saturate(self) -> float:
        """The highest arrival rate found that the target held, in payments per second; 0 when it held none."""
        pace = self._pace
        held = await saturation.highest_held(
            self._holds, first=FIRST_RATE_PER_S, growth=pace.growth, refinements=pace.refinements
        )
        self._report(f"{self.target.name}: held {held:.0f}/s")
        return held

    async def load(
        self, rate_per_s: float, mix: Mapping[Kind, float] = AUTOMATIC, *, seconds: float | None = None
    ) -> dict[str, Any]:
        """A load with its latencies and its cost on every process, Postgres and Temporal."""
        seconds = self._pace.seconds(rate_per_s, seconds or self._pace.load_s)
        stages = self.target.stages
        passed = None if stages is None else await stages.seen()
        run, before, after = await self._measured(rate_per_s, mix, seconds)
        figures = self._figures(run, before, after)
        if stages is not None and passed is not None:
            figures |= await stages.since(passed)
        if self.target.temporal is not None:
            figures["temporal"] = await measure.histories(self.target.temporal, run.ids)
        own = figures["own_ms"]
        self._report(
            f"{self.target.name}: {rate_per_s:.1f}/s, p50 {own['p50']} ms, p99 {own['p99']} ms of own time"
        )
        return figures

    async def kinds(self) -> dict[str, Any]:
        """What each kind of request costs alone, at one modest rate; replays at a higher one."""
        pace = self._pace
        found: dict[str, Any] = {}
        for kind in (Kind.AUTOMATIC, Kind.MANUAL, Kind.DECLINED, Kind.REFUND, Kind.REPLAY):
            rate_per_s = pace.kind_per_s * (REPLAYS if kind is Kind.REPLAY else 1)
            await self._stock(kind, round(rate_per_s * pace.seconds(rate_per_s, pace.kind_s)))
            found[kind.value] = await self.load(rate_per_s, {kind: 1.0}, seconds=pace.kind_s)
        return found

    async def idle(self) -> dict[str, float]:
        """The processors that each process keeps busy while nothing is asked of it."""
        await self.target.meter.until_quiet()
        before = await self.target.meter.read()
        await asyncio.sleep(self._pace.idle_s)
        return measure.cores(before, await self.target.meter.read())

    async def overload(self, saturation_per_s: float) -> dict[str, Any]:
        """Far more than it can take, and at once afterwards a load that it can."""
        pace, acquirer_s = self._pace, self.target.acquirer_s
        seconds = pace.seconds(
            saturation_per_s, pace.overload_s
        )  # of what it takes, nearly so much is accepted
        run, before, after = await self._measured(saturation_per_s * OVERLOAD, AUTOMATIC, seconds)
        figures = self._figures(run, before, after)
        then = await self._send(
            Load(saturation_per_s * AFTER_OVERLOAD, pace.overload_s, self._seed), AUTOMATIC
        )
        figures["afterwards"] = summary(then, acquirer_s=acquirer_s)
        figures["normal_after_s"] = normal_after_s(then, acquirer_s=acquirer_s, own_s_max=NORMAL_OWN_S)
        figures["unfinished"] = await self._until_finished()
        self._report(
            f"{self.target.name}: overload {figures['rate_per_s']}/s, accepted p99 {figures['own_ms']['p99']} ms, "
            f"refused {figures['refused']}, failed {figures['failed']}"
        )
        return figures

    async def with_webhooks(self, rate_per_s: float, sink_url: str) -> dict[str, Any]:
        """The load with one endpoint that gets every event; the relay's work is in the costs."""
        headers = {"Authorization": f"Bearer {self.target.api_key}", "Idempotency-Key": "bench-endpoint"}
        async with httpx.AsyncClient(base_url=self.target.url, headers=headers, trust_env=False) as client:
            made = await client.post("/v1/webhook_endpoints", json={"url": f"{sink_url}/events"})
            endpoint_id = made.raise_for_status().json()["id"]
            figures = await self.load(rate_per_s)
            (await client.delete(f"/v1/webhook_endpoints/{endpoint_id}")).raise_for_status()
        return figures

    async def _holds(self, rate_per_s: float) -> bool:
        seconds = self._pace.seconds(rate_per_s, self._pace.step_s)
        run, before, after = await self._measured(rate_per_s, AUTOMATIC, seconds)
        held = is_held(run, acquirer_s=self.target.acquirer_s, p99_s_max=HELD_P99_S, expected_min=HELD_SHARE)
        self.steps.append({**self._figures(run, before, after), "held": held})
        p99 = self.steps[-1]["own_ms"]["p99"]
        self._report(f"{self.target.name}: {rate_per_s:.0f}/s {'held' if held else 'not held'}, p99 {p99} ms")
        return held

    async def _measured(
        self, rate_per_s: float, mix: Mapping[Kind, float], seconds: float
    ) -> tuple[Run, measure.Reading, measure.Reading]:
        meter = self.target.meter
        if not await meter.until_quiet():
            self._report(f"{self.target.name}: not quiet yet")
        before = await meter.read()
        run = await self._send(Load(rate_per_s, seconds, self._seed), mix)
        return run, before, await meter.read()

    async def _send(self, load: Load, mix: Mapping[Kind, float]) -> Run:
        return await self._generator.run(load, mix)

    async def _stock(self, kind: Kind, wanted: int) -> None:
        """Enough earlier payments are there for a run of this kind alone."""
        missing = wanted - self.target.shop.stocked(kind)
        if missing > 0:
            await self._send(Load(STOCK_PER_S, missing / STOCK_PER_S, self._seed), AUTOMATIC)

    async def _until_finished(self) -> dict[str, Any]:
        """How long it takes until no operation is half done, and how many are after the limit."""
        assert self.target.database_url is not None
        began = time.perf_counter()
        while (left := await measure.unfinished(self.target.database_url)) > 0:
            if time.perf_counter() - began > UNFINISHED_WITHIN_S:
                break
            await asyncio.sleep(measure.LOOK_EVERY_S)
        return {"operations": left, "after_s": round(time.perf_counter() - began, 2)}

    def _figures(self, run: Run, before: measure.Reading, after: measure.Reading) -> dict[str, Any]:
        figures = summary(run, acquirer_s=self.target.acquirer_s)
        arrivals = len(run.lateness_s)  # a capture that follows belongs to its authorization
        return {**figures, **measure.cost(before, after, arrivals), "cores": measure.cores(before, after)}
