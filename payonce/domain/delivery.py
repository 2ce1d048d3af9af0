"""How an event's delivery to an endpoint stands, who tries it again, and when."""

from enum import StrEnum
from typing import Final

_SECOND, _MINUTE, _HOUR = 1.0, 60.0, 3_600.0
DELAYS_S: Final = (  # before each attempt; 75 h 35 min 5 s in all. Source: Standard Webhooks 1.0.0, api.md
    *(0.0, 5 * _SECOND, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR),
    *(5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
)
JITTER: Final = 0.1
RETRY_AFTER_FACTOR_MAX: Final = 2.0


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # also between attempts
    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    DROPPED = "dropped"  # its endpoint was deleted or disabled


class Holder(StrEnum):
    """Who tries a delivery that failed again."""

    RELAY = "relay"
    WORKFLOW = "workflow"


def next_delay_s(*, attempts: int, retry_after_s: float | None, jitter: float) -> float | None:
    """The wait after so many failed attempts; None: that was the last one. `jitter` is from -1 to 1.

    The receiver's `Retry-After` may prolong the wait to twice the published delay, and never shortens it.
    """
    if attempts >= len(DELAYS_S):
        return None
    regular_s = DELAYS_S[attempts] * (1 + JITTER * jitter)
    longest_s = DELAYS_S[attempts] * RETRY_AFTER_FACTOR_MAX
    return min(max(regular_s, retry_after_s or 0.0), longest_s)
