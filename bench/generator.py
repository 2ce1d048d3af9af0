"""Sends a load: each request when it is due, however the earlier ones fare."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from bench.samples import BROKEN, OVERDUE, REFUSALS, Run, Sample
from bench.schedule import Load, draw, due_times
from bench.traffic import Kind, Request, Shop, id_of
from bench.wire import Pool, Reply

CONNECTIONS = 64  # open before the first request
OPEN_MAX = 2_000  # requests at a time; what is due beyond that counts as unsent
ANSWER_WITHIN_S = 15.0  # the API answers every request within 10 s
IDS_KEPT = 5_000
BURST_MAX = 50  # so many overdue requests are sent before answers are read again


class Generator:
    """An open-loop client of one address. Its latencies begin when a request was due, not when it was sent."""

    def __init__(self, *, host: str, port: int, shop: Shop) -> None:
        self.shop = shop
        self._pool = Pool(host, port)

    async def run(self, load: Load, mix: Mapping[Kind, float]) -> Run:
        """The load was sent, and everything is answered or overdue. Raises `OSError` when nothing listens."""
        await self._pool.warm(CONNECTIONS)
        return await _Sending(self.shop, self._pool, load, mix).run()

    def close(self) -> None:
        """No connection is left."""
        self._pool.close()


class _Sending:
    """One run while it lasts."""

    def __init__(self, shop: Shop, pool: Pool, load: Load, mix: Mapping[Kind, float]) -> None:
        self._shop, self._pool = shop, pool
        self._run = Run(load)
        self._dues = due_times(load)
        self._kinds = draw(mix, len(self._dues), seed=load.seed)
        self._open: dict[int, tuple[Request, float]] = {}
        self._number = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._all_answered = asyncio.Event()
        self._clock: Callable[[], float] = time.perf_counter
        self._began = 0.0

    async def run(self) -> Run:
        with _no_collections():
            cpu_began, self._began = time.process_time(), self._clock()
            await self._send_all(self._dues, self._kinds)
            await self._wait()
            self._run.seconds = self._clock() - self._began
            self._run.cpu_s = time.process_time() - cpu_began
        return self._run

    async def _send_all(self, dues: Sequence[float], kinds: Sequence[Kind]) -> None:
        burst = 0
        for due_s, kind in zip(dues, kinds, strict=True):
            wait_s = due_s - (self._clock() - self._began)
            burst = 0 if wait_s > 0 else burst + 1
            if wait_s > 0 or burst % BURST_MAX == 0:
                await asyncio.sleep(max(wait_s, 0))
            self._arrive(kind, due_s)

    def _arrive(self, kind: Kind, due_s: float) -> None:
        possible = kind if self._shop.stocked(kind) else Kind.AUTOMATIC
        if len(self._open) >= OPEN_MAX:
            self._run.unsent += 1
            return
        self._run.lateness_s.append(self._clock() - self._began - due_s)
        self._send(self._shop.request(possible), due_s)

    def _send(self, request: Request, due_s: float) -> None:
        self._number += 1
        self._open[self._number] = (request, due_s)
        answered = partial(self._on_answer, self._number)
        connection = self._pool.take()
        if connection is not None:
            connection.ask(request.content, answered)
            return
        task = asyncio.create_task(self._connect_and_send(request, answered))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_send(self, request: Request, answered: Callable[[Reply], None]) -> None:
        try:
            connection = await self._pool.connect()
        except OSError:
            answered(Reply(BROKEN))
        else:
            connection.ask(request.content, answered)

    def _on_answer(self, number: int, reply: Reply) -> None:
        found = self._open.pop(number, None)
        if found is None:
            return  # it was overdue already
        request, due_s = found
        now_s = self._clock() - self._began
        expected = request.is_expected(reply)
        retry_after = reply.status in REFUSALS and b"\r\nretry-after:" in reply.head
        sample = Sample(request.kind, due_s, now_s - due_s, reply.status, expected, retry_after)
        self._run.samples.append(sample)
        if expected:
            self._follow(request, reply, now_s)
        if not self._open:
            self._all_answered.set()

    def _follow(self, request: Request, reply: Reply, now_s: float) -> None:
        if len(self._run.ids) < IDS_KEPT and request.kind in (Kind.AUTOMATIC, Kind.MANUAL, Kind.REFUND):
            self._run.ids.append(id_of(reply).decode())
        following = self._shop.answered(request, reply)
        if following is not None:
            self._send(following, now_s)  # due at once: a merchant that captures what was authorized

    async def _wait(self) -> None:
        """Everything open is answered, or overdue and given up."""
        deadline = self._clock() + ANSWER_WITHIN_S
        while self._open and (left_s := deadline - self._clock()) > 0:
            self._all_answered.clear()
            try:
                await asyncio.wait_for(self._all_answered.wait(), left_s)
            except TimeoutError:
                break
        for request, due_s in self._open.values():
            latency_s = self._clock() - self._began - due_s
            self._run.samples.append(Sample(request.kind, due_s, latency_s, OVERDUE, expected=False))
        if self._open:
            self._open.clear()
            self._pool.close()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Python's cyclic garbage waits: a full collection would stop the clock's reader for tens of milliseconds."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
