"""How an endpoint is doing: what an attempt's result makes of its health, and of whom that must be told."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

WARN_AFTER: Final = (timedelta(days=1), timedelta(days=3))  # without a success, once each
DISABLE_AFTER: Final = timedelta(days=5)
DISABLE_FAILURES_MIN: Final = 20  # a quiet endpoint is not disabled for a few attempts
SUCCESS_NOTED_EVERY: Final = timedelta(minutes=1)  # writing down each one would make the row hot
OPERATIONAL_PREFIX: Final = "webhook_endpoint."  # of the types of events that are about no payment


class EndpointEvent(StrEnum):
    """The operational events about an endpoint, which its merchant's other endpoints get."""

    FAILING = "webhook_endpoint.failing"
    EXHAUSTED = "webhook_endpoint.exhausted"
    DISABLED = "webhook_endpoint.disabled"
    RECOVERED = "webhook_endpoint.recovered"


class DisabledReason(StrEnum):
    """Who or what disabled an endpoint."""

    MERCHANT = "merchant"
    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """`failures`: attempts that failed since the last success, the first of them at `failing_since`."""

    failures: int = 0
    failing_since: datetime | None = None
    last_success_at: datetime | None = None
    warned: int = 0  # how many of `WARN_AFTER` were announced


@dataclass(frozen=True, slots=True)
class HealthChange:
    """The health afterwards, what to tell, and whether the endpoint is to be disabled."""

    health: EndpointHealth
    events: tuple[EndpointEvent, ...] = ()
    disabled: bool = False


def after(health: EndpointHealth, results: Iterable[bool], *, now: datetime) -> HealthChange:
    """What attempts that succeeded or failed, in this order, make of an enabled endpoint's health."""
    events: tuple[EndpointEvent, ...] = ()
    for succeeded in results:
        if not succeeded:
            since = health.failing_since or now
            health = replace(health, failures=health.failures + 1, failing_since=since)
            continue
        if health.warned:
            events += (EndpointEvent.RECOVERED,)
        health = EndpointHealth(last_success_at=now)
    if health.failing_since is None:
        return HealthChange(health, events)
    return _while_failing(health, events, silence=now - health.failing_since)


def _while_failing(
    health: EndpointHealth, events: tuple[EndpointEvent, ...], *, silence: timedelta
) -> HealthChange:
    if silence >= DISABLE_AFTER and health.failures >= DISABLE_FAILURES_MIN:
        return HealthChange(health, (*events, EndpointEvent.DISABLED), disabled=True)
    due = sum(silence >= limit for limit in WARN_AFTER)
    if due > health.warned:
        return HealthChange(replace(health, warned=due), (*events, EndpointEvent.FAILING))
    return HealthChange(health, events)
