"""When an acquirer that is down is left alone, and when it is tried again."""

import pytest
from wire_server import OK, OpenHttp, Order, Serve, answer, answering_for_ever, writing, yes

from payonce.connectors.breaker import BREAKER_FAILURES, BREAKER_OPEN_S, CircuitBreaker
from payonce.connectors.http import AcquirerHttp
from payonce.domain.errors import NotSent, OutcomeUnknown


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def fail(http: AcquirerHttp, *, times: int) -> None:
    for _ in range(times):
        with pytest.raises((NotSent, OutcomeUnknown)):
            await http.post("/orders", Order(), may_send=yes)


@pytest.mark.parametrize("raw", [answer(b"{}", status="500 Internal Server Error"), b"garbage\r\n\r\n"])
async def test_failures_in_a_row_open_the_circuit(serve: Serve, open_http: OpenHttp, raw: bytes) -> None:
    server = await serve(writing(raw))
    http = open_http(server.url, breaker=CircuitBreaker(clock=Clock()))
    await fail(http, times=BREAKER_FAILURES)
    with pytest.raises(NotSent, match="circuit open"):
        await http.post("/orders", Order(), may_send=yes)
    assert server.received.count(b"POST") == BREAKER_FAILURES


async def test_an_open_circuit_lets_inquiries_through(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(writing(answer(b"{}", status="500 Internal Server Error")))
    http = open_http(server.url, breaker=CircuitBreaker(clock=Clock()))
    await fail(http, times=BREAKER_FAILURES)
    with pytest.raises(OutcomeUnknown):
        await http.post("/inquiries", Order(), may_send=None)
    assert server.received.count(b"POST /inquiries") == 1


async def test_failed_inquiries_do_not_open_the_circuit(refusing_url: str, open_http: OpenHttp) -> None:
    http = open_http(refusing_url, breaker=CircuitBreaker(clock=Clock()))
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(NotSent):
            await http.post("/inquiries", Order(), may_send=None)
    with pytest.raises(NotSent, match="ConnectError"):
        await http.post("/orders", Order(), may_send=yes)


async def test_a_right_that_lapsed_says_nothing_about_the_acquirer(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    http = open_http(server.url, breaker=CircuitBreaker(clock=Clock()))
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(NotSent):
            await http.post("/orders", Order(), may_send=lambda: False)
    await http.post("/orders", Order(), may_send=yes)


async def test_a_closed_circuit_forgets_failures_at_a_success(serve: Serve, open_http: OpenHttp) -> None:
    error = answer(b"{}", status="500 Internal Server Error")
    server = await serve(writing(*[error] * (BREAKER_FAILURES - 1), OK, error, OK))
    http = open_http(server.url, breaker=CircuitBreaker(clock=Clock()))
    await fail(http, times=BREAKER_FAILURES - 1)
    await http.post("/orders", Order(), may_send=yes)
    await fail(http, times=1)
    await http.post("/orders", Order(), may_send=yes)


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock=clock)
    for _ in range(BREAKER_FAILURES):
        assert breaker.admits()
        breaker.failed()
    assert not breaker.admits()
    return breaker


def test_after_a_while_one_call_tries() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += BREAKER_OPEN_S
    assert [breaker.admits() for _ in range(3)] == [True, False, False]


def test_a_trial_that_succeeds_closes_the_circuit() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += BREAKER_OPEN_S
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True, True, True]


def test_a_trial_that_fails_opens_the_circuit_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += BREAKER_OPEN_S
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    clock.now += BREAKER_OPEN_S
    assert breaker.admits()


def test_a_trial_that_says_nothing_leaves_it_to_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += BREAKER_OPEN_S
    assert breaker.admits()
    breaker.abandoned()
    assert [breaker.admits() for _ in range(2)] == [True, False]


def test_calls_from_before_that_fail_late_do_not_prolong_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += BREAKER_OPEN_S / 2
    breaker.failed()
    clock.now += BREAKER_OPEN_S / 2
    assert breaker.admits()
