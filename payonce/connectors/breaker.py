"""Whether an acquirer is asked at all: not after many failures in a row."""

import time
from collections.abc import Callable
from typing import Final

BREAKER_FAILURES: Final = 20  # in a row: then nothing is sent for a while
BREAKER_OPEN_S: Final = 5.0


class CircuitBreaker:
    """Open after so many failures in a row; after `BREAKER_OPEN_S` one call is let through to try.

    Every call that `admits` let through ends with exactly one of `succeeded`, `failed` and `abandoned`.
    """

    def __init__(
        self, *, failures_max: int = BREAKER_FAILURES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False

    def admits(self) -> bool:
        """Whether a call may be made now."""
        if self._open_until is None:
            return True
        if self._trying or self._clock() < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The acquirer answered: closed."""
        self._failures = 0
        self._open_until = None
        self._trying = False

    def failed(self) -> None:
        """One more failure. While open only the trial call prolongs it, not earlier calls that fail late."""
        self._failures += 1
        if self._failures >= self._failures_max and (self._open_until is None or self._trying):
            self._open_until = self._clock() + BREAKER_OPEN_S
        self._trying = False

    def abandoned(self) -> None:
        """The call ended without saying anything about the acquirer."""
        self._trying = False
