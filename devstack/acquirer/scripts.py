"""What the sandbox does by itself to a payment that a customer decides: by their address, as data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

SandboxVpa = Literal["success@upi", "failure@upi", "pending@upi", "late@upi"]

DECIDES_AFTER = timedelta(seconds=1)
LATE_SUCCESS_AFTER = timedelta(seconds=5)  # after the rail has said that it expired
PAGES_CLOSE_AFTER = timedelta(seconds=30)  # after the window, until when an answer still counts


class Rail(StrEnum):
    """How the money comes."""

    UPI = "upi"
    WALLET = "wallet"
    CARD = "card"


class State(StrEnum):
    """What the rail says of the payment, apart from reversals."""

    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Step:
    """The state that comes by itself, and when."""

    state: State
    at: datetime


def next_step(
    payer: str, state: State, *, created_at: datetime, expires_at: datetime, closes_at: datetime | None = None
) -> Step | None:
    """What will happen unless it is stopped; None when only the customer moves it.

    `closes_at`: when one that waits for its customer ends by itself, since the page takes no answer any more.

    Source: shared/api.md, "Sandbox triggers". A wallet has no address, so it waits for its customer.
    """
    match payer, state:
        case "success@upi", State.PENDING:
            return Step(State.APPROVED, created_at + DECIDES_AFTER)
        case "failure@upi", State.PENDING:
            return Step(State.DECLINED, created_at + DECIDES_AFTER)
        case "late@upi", State.PENDING:
            return Step(State.EXPIRED, expires_at)
        case "late@upi", State.EXPIRED:
            return Step(State.APPROVED, expires_at + LATE_SUCCESS_AFTER)
        case _, State.PENDING if closes_at is not None:
            return Step(State.EXPIRED, closes_at)
        case _:
            return None
