"""Counts and times every call to an acquirer, whatever the connector, and tells those who wait for it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Protocol, TypeVar, cast

from payonce.connectors.base import (
    Asking,
    Call,
    Callback,
    Calling,
    Connector,
    Identifying,
    Identity,
    Locating,
    MaySend,
    Storing,
    TwoLegged,
)
from payonce.connectors.listing import ChargeListing, ChargePage, ChargeProving, DisputeListing, ListLimits
from payonce.domain.errors import CallbackInvalid, ConnectorError, OutcomeUnknown, Rejected, UnknownThere
from payonce.domain.facts import Cancellation, EndsItself, Inquiry, Reply, Reversed
from payonce.domain.reconciling import TheirCharge
from payonce.logging import get_logger
from payonce.metrics import CONNECTOR_CALLS, CONNECTOR_SECONDS
from payonce.waiting import first

CALLS_END_WITHIN_S: Final = 60.0  # three times what a call may take
_ANOTHERS: Final = "the account's secrets are those of another account"
_NOT_FOUND: Final = "not found by secrets of which it is not known whose they are"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TokenDeleted:
    """The acquirer has it no more."""

    kind: Literal["token_deleted"] = "token_deleted"


T = TypeVar("T", bound=Reply | Cancellation | TokenDeleted | ChargePage)


class Watcher(Protocol):
    """Who waits for an operation, and wants to know when it is the acquirer's turn."""

    def call_begun(self) -> None: ...

    def call_ended(self) -> None: ...


class Calls:
    """The watchers of this process, by operation id."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, list[Watcher]] = defaultdict(list)

    @contextmanager
    def watched(self, operation_id: str, watcher: Watcher | None) -> Iterator[None]:
        """The watcher hears of every call of the operation that begins while the block runs, and of its end."""
        if watcher is None:
            yield
            return
        self._watchers[operation_id].append(watcher)
        try:
            yield
        finally:
            self._watchers[operation_id].remove(watcher)
            if not self._watchers[operation_id]:
                del self._watchers[operation_id]

    @contextmanager
    def under_way(self, operation_id: str) -> Iterator[None]:
        """A call of the operation is under way while the block runs."""
        watchers = tuple(self._watchers.get(operation_id, ()))
        for watcher in watchers:
            watcher.call_begun()
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.call_ended()


class Whose(StrEnum):
    """What is known of whose secrets an account has; nobody asks about an account of the settings."""

    NOT_PINNED = "not_pinned"
    NOT_ASKED = "not_asked"
    PINNED = "pinned"  # the acquirer says the identity that the account has
    UNANSWERED = "unanswered"
    REFUSED = "refused"  # the acquirer does not take them
    ANOTHER = "another_identity"

    @property
    def proves(self) -> bool:
        """Whether what the acquirer does not know is known to be nowhere."""
        return self in (Whose.NOT_PINNED, Whose.PINNED)


class Measured:
    """A connector around a connector, which another one may replace while calls are under way.

    With secrets that are another account's it calls nobody: what is not known there proves nothing here.
    """

    def __init__(
        self, account_id: str, connector: Connector, calls: Calls, *, whose: Whose = Whose.NOT_PINNED
    ) -> None:
        self._account_id = account_id
        self._calls = calls
        self._held = _Held(connector)
        self.name = connector.name
        self.capabilities = connector.capabilities
        self.whose = whose

    def replace(self, connector: Connector, *, whose: Whose) -> Coroutine[None, None, None]:
        """Calls from now on are the new connector's. The old one is closed once those under way have ended."""
        old, self._held = self._held, _Held(connector)
        self.capabilities, self.whose = connector.capabilities, whose
        return old.end()

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        if self.whose is Whose.ANOTHER:
            raise Rejected(_ANOTHERS)
        with self._calls.under_way(call.operation_id):
            return await self._measured(call.kind, lambda held: held.send(call, may_send=may_send))

    async def replay(self, call: Call, *, may_send: MaySend) -> Reply:
        """As `send`, of a call that was sent before. Raises `OutcomeUnknown` where it is not known whose the secrets
        are: at another acquirer it would be a first one."""
        if not self.whose.proves:
            raise OutcomeUnknown("not sent again by secrets of which it is not known whose they are")
        with self._calls.under_way(call.operation_id):
            found = await self._measured("replay", lambda held: held.send(call, may_send=may_send))
        if not isinstance(found, Reply):  # a connector's mistake: nothing is not found by sending it
            raise OutcomeUnknown(f"{found.kind} is no answer to a request")
        return found

    async def inquire(self, call: Call) -> Inquiry:
        self._check_whose()
        whose = self.whose
        try:
            found = await self._measured("inquire", lambda held: held.inquire(call))
        except UnknownThere as error:
            if whose.proves and self.whose.proves:
                raise
            raise OutcomeUnknown(_NOT_FOUND) from error
        if found.kind == "not_found" and not (whose.proves and self.whose.proves):
            raise OutcomeUnknown(_NOT_FOUND)
        return found

    @property
    def list_limits(self) -> ListLimits | None:
        """How the acquirer's list of charges may be read; None where there is none."""
        found: ListLimits | None = getattr(self._held.connector, "list_limits", None)
        return found

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """As `ChargeListing`. What somebody else's list has, or lacks, says nothing: raises `OutcomeUnknown`."""
        self._check_whose()
        if not self.whose.proves:
            raise OutcomeUnknown("not listed by secrets of which it is not known whose they are")
        return await self._measured(
            "list",
            lambda held: cast("ChargeListing", held).list_charges(since=since, until=until, after=after),
        )

    async def is_ours(self, charge: TheirCharge) -> bool:
        """As `ChargeProving`; where only we can write references, they say so themselves."""
        self._check_whose()
        if self.list_limits is None or not self.list_limits.payers_write:
            return True
        with self._held.in_use() as held:
            return await cast("ChargeProving", held).is_ours(charge)

    async def reference_of(self, charge_id: str) -> str | None:
        """As `DisputeListing`; None where the connector is not one."""
        self._check_whose()
        if not hasattr(self._held.connector, "reference_of"):
            return None
        with self._held.in_use() as held:
            return await cast("DisputeListing", held).reference_of(charge_id)

    async def locate(self, reference: str) -> str | None:
        """As `Locating`; None where the connector is not one, or has another account's secrets."""
        if self.whose is Whose.ANOTHER or not hasattr(self._held.connector, "locate"):
            return None
        with self._held.in_use() as held:
            return await cast("Locating", held).locate(reference)

    async def reverse(self, call: Call) -> Reversed:
        self._check_whose()
        return await self._measured("reverse", lambda held: held.reverse(call))

    async def cancel(self, call: Call) -> Cancellation:
        if not self.capabilities.needs_action:
            return EndsItself()
        self._check_whose()
        return await self._measured("cancel", lambda held: cast("Asking", held).cancel(call))

    async def resume(
        self, call: Call, parameters: Mapping[str, str], *, leg: int, may_send: MaySend
    ) -> Reply:
        self._check_whose()
        with self._calls.under_way(call.operation_id):
            return await self._measured(
                "resume",
                lambda held: cast("TwoLegged", held).resume(call, parameters, leg=leg, may_send=may_send),
            )

    async def delete_token(self, token: Mapping[str, str]) -> None:
        """As `Storing`. Raises `Rejected` where the connector deletes none."""
        self._check_whose()

        async def deleting(held: Connector) -> TokenDeleted:
            if not hasattr(held, "delete_token"):
                raise Rejected("the connector deletes no tokens")
            await cast("Storing", held).delete_token(token)
            return TokenDeleted()

        await self._measured("delete_token", deleting)

    async def identify(self) -> Identity:
        """As `Identifying`; of the connector that is here when it is called."""
        with self._held.in_use() as held:
            return await cast("Identifying", held).identify()

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        if not self.capabilities.callbacks:
            raise CallbackInvalid
        return cast("Calling", self._held.connector).read_callback(headers, body, now=now)

    async def close(self) -> None:
        await self._held.connector.close()

    def _check_whose(self) -> None:
        if self.whose is Whose.ANOTHER:
            raise OutcomeUnknown(_ANOTHERS)

    async def _measured(self, kind: str, calling: Callable[[Connector], Awaitable[T]]) -> T:
        begun, result = time.monotonic(), "interrupted"
        try:
            with self._held.in_use() as held:
                reply = await calling(held)
            result = reply.kind
            return reply
        except ConnectorError as error:
            result = error.code
            if isinstance(error, Rejected):  # counted and said, whatever it is that was asked
                log.error("acquirer_rejected", account=self._account_id, call=kind, reason=error.message)
            raise
        finally:
            CONNECTOR_CALLS.labels(self._account_id, kind, result).inc()
            CONNECTOR_SECONDS.labels(self._account_id, kind).observe(time.monotonic() - begun)


class _Held:
    """A connector, and how many calls of it are under way."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def in_use(self) -> Iterator[Connector]:
        self._calls += 1
        self._idle.clear()
        try:
            yield self.connector
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def end(self) -> None:
        """Closed, after what is under way; no call takes as long as that is waited for."""
        try:
            await first(self._idle, timeout_s=CALLS_END_WITHIN_S)
        finally:
            await self.connector.close()
