"""How long what was sent may be sent again: to some time before the acquirer may have forgotten its key."""

from datetime import UTC, datetime, timedelta

import pytest

from payonce.domain.truth import closes_early, window_open

SENT = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kept", "good_for"),
    [
        (timedelta(hours=1), timedelta(minutes=50)),
        (timedelta(hours=24), timedelta(hours=20)),
        (timedelta(days=6), timedelta(days=5)),
        (timedelta(days=7), timedelta(days=6)),
        (timedelta(days=31), timedelta(days=30)),
    ],
)
def test_it_closes_a_sixth_early_and_a_day_at_most(kept: timedelta, good_for: timedelta) -> None:
    window_s = kept.total_seconds()
    assert kept - closes_early(window_s) == good_for
    assert window_open(SENT, SENT + good_for - timedelta(seconds=1), window_s=window_s)
    assert not window_open(SENT, SENT + good_for, window_s=window_s)


def test_what_is_never_replayed_has_no_window() -> None:
    assert not window_open(SENT, SENT, window_s=0)
