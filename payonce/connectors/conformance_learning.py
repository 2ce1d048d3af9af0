"""How the suites learn what became of a call, as payonce does: by inquiry, by sending it again, or by callback."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar, cast

import pytest

from payonce.connectors.base import Call, Callback, Calling, Connector
from payonce.domain.claiming import SEND_WITHIN
from payonce.domain.errors import ConnectorError
from payonce.domain.facts import (
    Accepted,
    Approved,
    Declined,
    Inquiry,
    NotKnown,
    Refused,
    Reply,
    Told,
    Turn,
)
from payonce.domain.truth import Truth

WAIT_S_MAX: Final = 20.0
SEND_WITHIN_S: Final = SEND_WITHIN.total_seconds()

T = TypeVar("T")


class Telling(Protocol):
    """What a harness has besides whose acquirer's callbacks carry facts."""

    async def callbacks(self, call: Call) -> Sequence[tuple[Mapping[str, str], bytes]]:
        """Headers and body of every callback that the acquirer has sent about the call's reference, oldest first."""
        ...


class Holding:
    """A right to send that always holds, or has always lapsed. Of those in `asked` each serves for one question."""

    def __init__(self, holds: bool = True, *, asked: list[bool] | None = None) -> None:
        self._holds = holds
        self._asked = asked

    def __call__(self) -> bool:
        return self._holds if self._asked is None else self._asked.pop()

    def left_s(self) -> float:
        return SEND_WITHIN_S if self._holds else 0.0

    def held_s(self) -> float:
        return 0.0 if self._holds else SEND_WITHIN_S


yes = Holding(True)
no = Holding(False)


async def inquired(connector: Connector, call: Call) -> Inquiry:
    """What the acquirer says once it knows the reference: the request may still be on its way."""

    async def found() -> Inquiry | None:
        inquiry = await connector.inquire(call)
        return None if isinstance(inquiry, NotKnown) else inquiry

    return await eventually(found)


async def check_not_known(connector: Connector, call: Call) -> None:
    """The acquirer does not know the reference; of one that cannot be asked, nothing says so ever."""
    if connector.capabilities.truth_of(call.kind).is_told:
        with pytest.raises(ConnectorError):
            await connector.inquire(call)
    else:
        assert await connector.inquire(call) == NotKnown()


async def answered(harness: object, connector: Connector, call: Call) -> Reply | Told:
    """What a call comes to: the answer to it, or the fact that its callback carries where it was only accepted."""
    reply = await connector.send(call, may_send=yes)
    is_told = connector.capabilities.truth_of(call.kind).is_told
    return await outcome_told(harness, connector, call) if is_told and isinstance(reply, Accepted) else reply


async def learned(harness: object, connector: Connector, call: Call) -> Inquiry | Told:
    """What became of a call that was sent, by whoever says so."""
    match connector.capabilities.truth_of(call.kind):
        case Truth.INQUIRY:
            return await inquired(connector, call)
        case Truth.CALLBACK:
            return await outcome_told(harness, connector, call)
        case Truth.REPLAY:
            reply: Reply = await eventually(partial(_replayed, connector, call))
            if isinstance(reply, Accepted):
                return await outcome_told(harness, connector, call)
            return reply


async def learned_by_replay(harness: object, connector: Connector, call: Call) -> Inquiry | Told:
    """What became of a call that is sent again. Where the acquirer can be asked, it is, if that answers nothing
    definite: an error may be what it keeps under the key."""
    if connector.capabilities.truth_of(call.kind) is not Truth.INQUIRY:
        return await learned(harness, connector, call)

    async def definite() -> Inquiry | None:
        reply: Inquiry | None = await _replayed(connector, call)
        if not isinstance(reply, Approved | Declined | Refused):
            reply = await connector.inquire(call)
        return reply if isinstance(reply, Approved | Declined | Refused) else None

    return await eventually(definite)


async def _replayed(connector: Connector, call: Call) -> Reply | None:
    """None: the first request is still on its way, or the answer to this one was lost."""
    try:
        return await connector.send(call, may_send=yes)
    except ConnectorError:
        return None


async def outcome_told(harness: object, connector: Connector, call: Call) -> Told:
    """The first definite fact that a callback carries about the call's reference."""

    async def definite() -> Told | None:
        facts = [callback.fact for callback in await read_callbacks(harness, connector, call)]
        return next((fact for fact in facts if isinstance(fact, Approved | Declined | Refused)), None)

    return await eventually(definite)


async def read_callbacks(harness: object, connector: Connector, call: Call) -> Sequence[Callback]:
    """What the acquirer has told about the call's reference, as the connector reads it."""
    sent = await cast("Telling", harness).callbacks(call)
    reading, now = cast("Calling", connector), datetime.now(UTC)
    return [reading.read_callback(headers, body, now=now) for headers, body in sent]


async def turned(harness: object, connector: Connector, call: Call) -> Approved:
    """What the acquirer says once it did something of itself to what it had approved."""
    if connector.capabilities.truth_of(call.kind).is_told:
        return await _turned_as_told(harness, connector, call)

    async def since() -> Approved | None:
        found = await connector.inquire(replace(call, approved=True))
        return found if isinstance(found, Approved) and found.since else None

    return await eventually(since)


async def _turned_as_told(harness: object, connector: Connector, call: Call) -> Approved:
    approved = await learned(harness, connector, call)
    assert isinstance(approved, Approved)

    async def since() -> tuple[Turn, ...]:
        facts = [callback.fact for callback in await read_callbacks(harness, connector, call)]
        return tuple(fact for fact in facts if isinstance(fact, Turn))

    return replace(approved, since=await eventually(since))


async def eventually(check: Callable[[], Awaitable[T | None]]) -> T:
    """The first truthy result of `check`, asked for at most `WAIT_S_MAX`."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not (result := await check()):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)
    return result
