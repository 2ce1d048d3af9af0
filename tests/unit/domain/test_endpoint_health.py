"""What attempts make of an endpoint's health, with a clock that the test holds (§2.4, 7)."""

from datetime import UTC, datetime, timedelta

from payonce.domain.endpoint_health import EndpointEvent, EndpointHealth, after

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAILED, SUCCEEDED = False, True


def failing(days: float, *, failures: int = 30, warned: int = 0) -> EndpointHealth:
    return EndpointHealth(failures, NOON - timedelta(days=days), warned=warned)


def test_the_first_failure_begins_the_count() -> None:
    change = after(EndpointHealth(last_success_at=NOON), [FAILED, FAILED], now=NOON)

    assert (change.health.failures, change.health.failing_since, change.events) == (2, NOON, ())


def test_a_success_ends_it_and_is_noted() -> None:
    change = after(failing(0.5), [FAILED, SUCCEEDED], now=NOON)

    assert change.health == EndpointHealth(last_success_at=NOON)
    assert change.events == ()


def test_a_failure_after_the_success_begins_anew() -> None:
    health = after(failing(4, warned=2), [SUCCEEDED, FAILED], now=NOON).health

    assert health == EndpointHealth(1, NOON, last_success_at=NOON)


def test_a_merchant_is_warned_after_a_day_and_after_three_once_each() -> None:
    health, told = failing(0.9), []
    for days in (0.9, 1.0, 1.5, 3.0, 3.1, 4.9):
        change = after(
            EndpointHealth(30, NOON - timedelta(days=days), warned=health.warned), [FAILED], now=NOON
        )
        health = change.health
        told.append((change.events, change.health.warned))

    nothing, warning = (), (EndpointEvent.FAILING,)
    assert told == [(nothing, 0), (warning, 1), (nothing, 1), (warning, 2), (nothing, 2), (nothing, 2)]


def test_five_days_without_a_success_disable_an_endpoint_that_failed_often_enough() -> None:
    assert after(failing(5, failures=19, warned=2), [FAILED], now=NOON).disabled
    assert after(failing(5, warned=2), [FAILED], now=NOON).events == (EndpointEvent.DISABLED,)
    assert not after(failing(4.99, warned=2), [FAILED], now=NOON).disabled
    assert not after(failing(30, failures=18, warned=2), [FAILED], now=NOON).disabled


def test_the_first_success_after_a_warning_is_told() -> None:
    assert after(failing(2, warned=1), [SUCCEEDED], now=NOON).events == (EndpointEvent.RECOVERED,)
    assert after(failing(2, warned=0), [SUCCEEDED], now=NOON).events == ()
