"""Every time-out and retry policy of every activity, in one table."""

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

OWNER_QUEUE_PREFIX = "owner-"
"""The task queue of one process: only what must run there goes there."""

_ONCE = RetryPolicy(maximum_attempts=1)
_UNTIL_STORED = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=0,  # bookkeeping must end well; it is safe to repeat and Postgres comes back
    non_retryable_error_types=["NotFound"],  # a workflow that somebody started by hand
)

ATTEMPT: dict[str, Any] = {
    # A local activity; the default policy would repeat it without end. Retries are the workflow's decision.
    "start_to_close_timeout": timedelta(seconds=60),  # the call (20 s at most) and 15 s of recording
    "retry_policy": _ONCE,
}
ATTEMPT_AT_OWNER: dict[str, Any] = {
    "schedule_to_start_timeout": timedelta(seconds=2),  # a living owner polls its queue
    "heartbeat_timeout": timedelta(seconds=3),
    "start_to_close_timeout": timedelta(seconds=25),
    "retry_policy": _ONCE,  # a time-out proves nothing: the claim is inquired about
}
INQUIRE: dict[str, Any] = {
    # An inquiry (25 s at most), the same request again (20 s), another inquiry, and the recording.
    "start_to_close_timeout": timedelta(seconds=90),
    # A worker that is stopped, not dead, is still given activities: each cost all of that without a heartbeat.
    "heartbeat_timeout": timedelta(seconds=5),
    "schedule_to_start_timeout": None,
    "retry_policy": _UNTIL_STORED,
}
ASK_ONCE: dict[str, Any] = {
    **INQUIRE,
    "schedule_to_close_timeout": timedelta(minutes=10),  # then whoever asks does something else first
}
BOOKKEEPING: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": _UNTIL_STORED,
}
DELIVER: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=40),  # the attempt (15 s at most) and the time to record it
    "heartbeat_timeout": timedelta(seconds=5),
    "retry_policy": _UNTIL_STORED,  # one that was sent and not recorded waits for its lease to end
}
REDELIVER: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": _UNTIL_STORED,  # a page is one transaction
}
RECONCILE: dict[str, Any] = {
    # A day of 100,000 charges is read within minutes; one that takes longer goes on from its last page.
    "start_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=10), backoff_coefficient=2.0, maximum_attempts=5
    ),
}
HEARTBEAT_EVERY_S = 1.0


def owner_queue(owner: str) -> str:
    """The task queue that only this process polls."""
    return f"{OWNER_QUEUE_PREFIX}{owner}"
