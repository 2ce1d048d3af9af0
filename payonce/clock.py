"""The clock that deadlines are measured by."""

import time


def boot_clock_s() -> float:
    """Seconds since boot, which go on while the machine sleeps: what waited meanwhile waited."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
