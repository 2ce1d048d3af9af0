"""When to ask again: schedules as data, so that a rail differs in numbers and not in code."""

from dataclasses import dataclass, replace
from typing import Final

NOT_SENT_RETRIES_S = (0.1, 0.4)  # a create: within the API's patience, while the card is in memory
# Of one whose data is in Postgres: about 10 minutes, while the customer may still wait.
CREATE_RETRIES_MAX = 10
_LOOK_EVERY_S, _TOLD_STILL_S = 3600.0, 30 * 24 * 3600.0
_RETRY_FIRST_S, _RETRY_LONGEST_S, _RETRY_GIVE_UP = 0.5, 600.0, 150  # about a day


@dataclass(frozen=True, slots=True, kw_only=True)
class InquirySchedule:
    """The delays between inquiries about one attempt, in seconds.

    First `first_s` one by one, then every `then_every_s`; after `review_after_s` an operator is told and the
    delay becomes `slow_every_s`; after `give_up_after_s` the schedule is used up. What is in review is asked about
    all the same, `USED_UP_EVERY_S`.
    """

    first_s: tuple[float, ...]
    then_every_s: float
    review_after_s: float
    slow_every_s: float
    give_up_after_s: float

    @property
    def calls_operator(self) -> bool:
        """Whether an operator is ever told; not by who only looks on."""
        return self.review_after_s < self.give_up_after_s

    @property
    def seldom(self) -> "InquirySchedule":
        """As seldom as after a review, and without one: for who only looks on while another one asks."""
        return replace(self, first_s=(), then_every_s=self.slow_every_s, review_after_s=self.give_up_after_s)

    def within(self, delay_s: float, *, longer_s: float) -> "InquirySchedule":
        """The next inquiry after `delay_s` at the latest; an operator is told `longer_s` later than usual."""
        return replace(
            self,
            first_s=tuple(min(own_s, delay_s) for own_s in self.first_s),
            then_every_s=min(self.then_every_s, delay_s),
            slow_every_s=min(self.slow_every_s, delay_s),
            review_after_s=self.review_after_s + longer_s,
        )

    def delay_s(self, *, inquiries: int, since_s: float) -> float | None:
        """The wait before the next inquiry, `inquiries` made and `since_s` after the first; None: no more."""
        if since_s >= self.give_up_after_s:
            return None
        if since_s >= self.review_after_s:
            return self.slow_every_s
        return self.first_s[inquiries] if inquiries < len(self.first_s) else self.then_every_s


USED_UP_EVERY_S: Final = 24 * 3600.0
"""Between inquiries once the schedule is used up: a fact that comes later still ends the review."""


def retry_delay_s(retries: int) -> float | None:
    """The wait before a further attempt of a capture, void or refund that was provably not sent; None: no more."""
    if retries >= _RETRY_GIVE_UP:
        return None
    return float(min(_RETRY_FIRST_S * 2.0 ** min(retries, 16), _RETRY_LONGEST_S))


def until_told(within_s: float) -> InquirySchedule:
    """While nobody can be asked and the acquirer will tell: within that time, then a person is called.

    Each inquiry only looks into Postgres; whoever records the callback wakes the run.
    """
    return InquirySchedule(
        first_s=(),
        then_every_s=max(1.0, min(within_s, _LOOK_EVERY_S)),
        review_after_s=within_s,
        slow_every_s=USED_UP_EVERY_S,
        give_up_after_s=within_s + _TOLD_STILL_S,
    )


CUSTOMER_INQUIRIES = InquirySchedule(
    first_s=(90, 900, 3600),
    then_every_s=24 * 3600,
    review_after_s=3 * 24 * 3600,
    slow_every_s=24 * 3600,
    give_up_after_s=30 * 24 * 3600,
)
"""While a customer may act, and after: not before 90 s, three times within 2 h, then daily.

Source: NPCI's limits of 2025 on the check-transaction API of UPI.
"""

LATE_INQUIRIES = InquirySchedule(
    first_s=(3600,),
    then_every_s=24 * 3600,
    review_after_s=5 * 24 * 3600,
    slow_every_s=24 * 3600,
    give_up_after_s=5 * 24 * 3600,
)
"""After the rail said that a payment expired: a success that its banks settle late is noticed within a day."""

LOOKS = InquirySchedule(
    first_s=(1, 2, 4, 8),
    then_every_s=60,
    review_after_s=30 * 24 * 3600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
"""At a void that ends with our refund, which is asked about, and reviewed, for itself: in Postgres only."""

UNKNOWN_ACCOUNT_INQUIRIES = InquirySchedule(
    first_s=(1, 2, 4, 8),
    then_every_s=8,
    review_after_s=600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
"""Of a server that answers within seconds; also where an attempt ended without saying at which account.

There the first inquiry answers with that account's schedule.
"""
