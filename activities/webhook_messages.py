"""What crosses Temporal about webhooks: ids and times, never a body or a secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """A delivery that failed so often, and goes on then. Everything else is read from Postgres."""

    delivery_id: str
    endpoint_id: str
    event_type: str
    attempts: int
    next_attempt_at: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Asks for one attempt, if this many were made."""

    delivery_id: str
    endpoint_id: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""

    attempts: int
    kind: Literal["delivered"] = "delivered"


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is tried again then; `attempts` were made so far."""

    next_attempt_at: datetime
    attempts: int
    reason: str | None
    kind: Literal["waiting"] = "waiting"


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The last attempt of the schedule failed too."""

    attempts: int
    reason: str | None
    kind: Literal["exhausted"] = "exhausted"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nobody wants it any more."""

    attempts: int
    kind: Literal["dropped"] = "dropped"


@dataclass(frozen=True, slots=True)
class LeftToRelay:
    """The relay took it back, while Temporal could not be reached, and retries it itself."""

    attempts: int
    kind: Literal["left_to_relay"] = "left_to_relay"


DeliveryProgress = Delivered | Waiting | Exhausted | Dropped | LeftToRelay


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job by its id; what it is about is read from Postgres."""

    job_id: str
    steps: int = 0  # of runs before this one


@dataclass(frozen=True, slots=True)
class PageTaken:
    """Some more events were looked at, and there are others."""

    done: int
    total: int
    kind: Literal["page_taken"] = "page_taken"


@dataclass(frozen=True, slots=True)
class NotNow:
    """Nothing was taken: the endpoint has enough to do, or the newest events are still being written."""

    done: int
    total: int
    reason: str
    kind: Literal["not_now"] = "not_now"


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Nothing is left to do."""

    done: int
    total: int
    state: str
    kind: Literal["job_ended"] = "job_ended"


JobProgress = PageTaken | NotNow | JobEnded
