"""The gate: who gets in, before anything expensive is done for a request. Pure ASGI, inside `Envelope`.

A merchant over its rate gets 429. A payment for which there is no place gets 503, which promises that nothing was
admitted under its key; so the gate looks the key up first, many in one query, and lets one that is known go on to
its answer, a few at a time. Where it cannot look it answers 429: that says nothing of the key.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import idempotency
from api.auth import Keys
from api.commands import KeyInUse
from api.limits import ONLY_KNOWN, AdaptiveLimit, Places, Work
from api.outcomes import Unavailable
from api.problems import Problem, problem_of, render
from api.rates import RateLimited, Rates
from payonce.domain.errors import PaymentError
from payonce.metrics import REFUSED
from payonce.runtime import Runtime
from payonce.storage.database import CommitUnknown, Database, StorageUnavailable, within
from payonce.storage.idempotency import known_keys

LIMITED = "/v1/"  # health, metrics and documents are always answered
KNOWN_MAX = 4  # requests at a time that may ask for the answer to a key while there is no place
LOOK_UP_EVERY_S, LOOK_UP_WITHIN_S = 0.02, 0.5
LOOK_UPS_MAX = 200  # keys in one query
_MONEY: Final = re.compile(r"/v1/payments(?:/[^/]+/(capture|void|refunds))?")


class Asked(NamedTuple):
    """An idempotency key under an API key: what a POST names before anybody is authenticated."""

    api_key_hash: bytes
    key: str


class Gate:
    """One for the process; `runtime` as for the handlers."""

    def __init__(self, app: ASGIApp, *, runtime: Runtime, rates: Rates) -> None:
        self._app = app
        settings = runtime.settings
        limit = AdaptiveLimit(ceiling=settings.in_flight_max, target_s=settings.own_time_target_ms / 1000)
        self.places = Places(limit, open_max=settings.in_flight_max)
        self._keys = Keys(settings)
        self._rates = rates
        self._known = KnownKeys(runtime.database)
        self._here: Counter[Asked] = Counter()  # under way in this process
        self._answering_known = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(LIMITED):
            await self._app(scope, receive, send)
            return
        try:
            await self._through(scope, receive, send)
        except Refusal as refusal:
            REFUSED.labels(refusal.reason).inc()
            problem = problem_of(refusal.error)
            await render(problem, request_id=scope["state"]["request_id"])(scope, receive, send)

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, reads = self._asked(Headers(scope=scope)), scope["method"] in ("GET", "HEAD", "OPTIONS")
        if asked is not None:
            await self._charge(asked, reads=reads)
        work = None if reads else work_of(scope["method"], scope["path"])
        if work is None:
            await self._app(scope, receive, send)
        else:
            await self._with_place(work, asked, scope, receive, send)

    async def _charge(self, asked: Asked, *, reads: bool) -> None:
        try:
            await self._rates.charge(asked.api_key_hash, reads=reads)
        except RateLimited as error:
            raise Refusal("rate", error) from None

    async def _with_place(
        self, work: Work, asked: Asked | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        elsewhere = asked is not None and self._here[asked] > 0
        with self._under_way(asked):
            place = await self.places.enter(work)
            if place is None:
                await self._without_place(asked, scope, receive, send, elsewhere=elsewhere)
                return
            scope["state"]["place"] = place
            try:
                await self._app(scope, receive, send)
            finally:
                place.leave()

    async def _without_place(
        self, asked: Asked | None, scope: Scope, receive: Receive, send: Send, *, elsewhere: bool
    ) -> None:
        """Refused, or let through to the answer of a key that was used before."""
        if elsewhere:  # the other request may be admitted any moment, or has just been
            raise Refusal("in_use", KeyInUse())
        if asked is None or not asked.key or not await self._is_known(asked):
            raise Refusal("busy", Unavailable())
        if self._answering_known >= KNOWN_MAX:
            raise Refusal("unsure", RateLimited(retry_after_s=1.0))
        scope["state"]["place"] = ONLY_KNOWN
        self._answering_known += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering_known -= 1

    async def _is_known(self, asked: Asked) -> bool:
        try:
            return await self._known.ask(asked)
        except (StorageUnavailable, CommitUnknown):
            raise Refusal("unsure", RateLimited(retry_after_s=1.0)) from None

    @contextmanager
    def _under_way(self, asked: Asked | None) -> Iterator[None]:
        if asked is None:
            yield
            return
        self._here[asked] += 1
        try:
            yield
        finally:
            self._here[asked] -= 1
            if not self._here[asked]:
                del self._here[asked]

    def _asked(self, headers: Headers) -> Asked | None:
        """None for a request that will be refused for its headers: the handlers say why."""
        try:
            return Asked(self._keys.presented(headers), idempotency.optional_key(headers) or "")
        except Problem:
            return None


class Refusal(Exception):
    """The request is answered with `error` at the gate; `reason` is what is counted."""

    def __init__(self, reason: str, error: PaymentError) -> None:
        super().__init__(reason)
        self.reason, self.error = reason, error


class KnownKeys:
    """Which keys were used before: one query at a time, for all who ask meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: set[Asked] = set()
        self._collecting: asyncio.Task[frozenset[Asked]] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, asked: Asked) -> bool:
        """Whether the key is known. Raises `StorageUnavailable`, also when too many ask."""
        if len(self._asked) >= LOOK_UPS_MAX:
            raise StorageUnavailable("too many keys to look up")
        self._asked.add(asked)
        if self._collecting is None:
            self._collecting = asyncio.create_task(self._look_up())
            self._collecting.add_done_callback(_looked_at)
        return asked in await asyncio.shield(self._collecting)

    async def _look_up(self) -> frozenset[Asked]:
        await asyncio.sleep(LOOK_UP_EVERY_S)  # those who come meanwhile share the query
        async with self._one_at_a_time:
            asked, self._asked, self._collecting = self._asked, set(), None
            return await within(LOOK_UP_WITHIN_S, self._read(asked))

    async def _read(self, asked: set[Asked]) -> frozenset[Asked]:
        async with self._database.transaction() as connection:
            found = await known_keys(connection, asked)
        return frozenset(Asked(*pair) for pair in found)


def _looked_at(task: "asyncio.Task[frozenset[Asked]]") -> None:
    """Its error is no surprise when all who asked are gone."""
    if not task.cancelled():
        task.exception()


def work_of(method: str, path: str) -> Work | None:
    """What the request needs a place for; None when it moves no money."""
    found = _MONEY.fullmatch(path) if method == "POST" else None
    if found is None:
        return None
    return Work.CREATE if found[1] is None else Work.CHANGE
