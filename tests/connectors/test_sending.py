"""A `send` of several calls: what comes before the money call moves nothing, and uses nothing of the right up."""

import asyncio
from collections.abc import Callable

import pytest
from wire_server import OK, Handler, OpenHttp, Serve, WireServer, answer, answering_for_ever, writing

from payonce.connectors.base import Call
from payonce.connectors.breaker import BREAKER_FAILURES, BREAKER_OPEN_S, CircuitBreaker
from payonce.connectors.conformance import Holding, eventually, yes
from payonce.connectors.http import AcquirerHttp, Documented, HttpRequest, segment
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.operations import OperationKind
from payonce.rights import Right

PRE = HttpRequest(path="/intents", form={"amount": 1099})
OTHER = HttpRequest(path="/methods", form={"type": "card"})
MONEY = HttpRequest(path="/intents/1/confirm", form={})
SHORT_S = 0.2

pytestmark = pytest.mark.usefixtures("product_limits")  # rights last for as long as the product's


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def permit(clock: Callable[[], float], *, left_s: float = 5.0) -> Right:
    call = Call(
        kind=OperationKind.AUTHORIZE, reference="pay_1-1", payment_id="pay_1", amount_minor=1, currency="INR"
    )
    return Right(call, 1, "token", "account", clock() + left_s, clock)


async def silent(server: WireServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await server.request(reader)
    await asyncio.Event().wait()


async def pre_then_money(http: AcquirerHttp, may_send: Holding) -> None:
    sending = http.sending(may_send)
    await sending.prepare(PRE, OTHER)
    await sending.move(MONEY)


async def test_the_right_is_asked_for_by_the_money_call_alone(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    rights = [True]
    await pre_then_money(open_http(server.url), Holding(asked=rights))
    assert not rights
    assert server.received.index(b"/intents/1/confirm") > server.received.index(b"/methods")
    assert server.received.count(b"POST") == 3


@pytest.mark.parametrize(
    "handler",
    [
        silent,
        writing(answer(b"<html>")),
        writing(answer(b"{}", status="500 Oh")),
        writing(answer(b"{}", status="302 Found", headers="Location: /elsewhere\r\n")),
    ],
    ids=["time-out", "garbage", "500", "redirect"],
)
async def test_whatever_fails_before_the_money_call_is_not_sent(
    serve: Serve, open_http: OpenHttp, handler: Handler
) -> None:
    server = await serve(handler)
    rights = [True]
    with pytest.raises(NotSent):
        await pre_then_money(open_http(server.url, call_deadline_s=SHORT_S), Holding(asked=rights))
    assert rights
    assert b"confirm" not in server.received


async def test_the_same_failure_of_the_money_call_is_unknown(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(writing(OK, answer(b"{}", status="500 Oh")))
    sending = open_http(server.url).sending(yes)
    await sending.prepare(PRE)
    with pytest.raises(OutcomeUnknown):
        await sending.move(MONEY)


@pytest.mark.parametrize(("status", "error"), [("401 No", Rejected), ("429 Later", RateLimited)])
async def test_what_the_acquirer_documents_as_not_processed_stays_what_it_is(
    serve: Serve, open_http: OpenHttp, status: str, error: type[Exception]
) -> None:
    server = await serve(writing(answer(b"{}", status=status)))
    with pytest.raises(error):
        await open_http(server.url).sending(yes).prepare(PRE)


async def test_a_call_may_document_more_than_its_account(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(
        writing(answer(b"[1]", status="402 Declined", headers="Request-Id: req_1\r\nOther: x\r\n"))
    )
    documented = Documented(answers=frozenset({402}), content="json", headers=frozenset({"request-id"}))
    found = await open_http(server.url).call(
        HttpRequest(path="/intents", documented=documented), may_send=None
    )
    assert (found.status, found.content, found.headers) == (402, b"[1]", {"request-id": "req_1"})


async def test_a_call_before_the_money_call_ends_when_the_right_lapses(
    serve: Serve, open_http: OpenHttp
) -> None:
    """The account's own deadline is far; the acquirer never answers."""
    server = await serve(silent)
    loop = asyncio.get_running_loop()
    right = permit(loop.time, left_s=SHORT_S)
    may_send = right.permit()
    with pytest.raises(NotSent):
        await open_http(server.url, clock=loop.time).sending(may_send).prepare(PRE)
    assert not may_send()


async def test_after_the_right_lapsed_nothing_more_is_sent(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    clock = Clock()
    may_send = permit(clock).permit()
    sending = open_http(server.url, clock=clock).sending(may_send)
    await sending.prepare(PRE)
    clock.now += 5
    for further in (sending.prepare(OTHER), sending.move(MONEY)):
        with pytest.raises(NotSent):
            await further
    assert server.received.count(b"POST") == 1


async def test_a_whole_send_ends_twenty_seconds_after_its_claim(serve: Serve, open_http: OpenHttp) -> None:
    """The claim is 4 s old: of the account's 20 s the money call has 16, less what the calls before it took."""
    server = await serve(answering_for_ever())
    clock = Clock()
    sending = open_http(server.url, clock=clock, call_deadline_s=20.0).sending(
        permit(clock, left_s=1.0).permit()
    )
    clock.now += 16
    with pytest.raises(NotSent):
        await sending.move(MONEY)
    assert server.received == b""


def test_a_right_is_used_up_once() -> None:
    clock = Clock()
    may_send = permit(clock).permit()
    assert (may_send.left_s(), may_send.held_s()) == (5.0, 0.0)
    clock.now += 2
    assert (may_send.left_s(), may_send.held_s()) == (3.0, 2.0)
    assert may_send()
    assert not may_send()
    assert may_send.left_s() == 0


async def test_an_acquirer_that_prepares_all_and_then_fails_is_away(
    serve: Serve, open_http: OpenHttp
) -> None:
    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.request(reader)
            confirmed = server.received.rfind(b"/confirm") > server.received.rfind(b"POST /intents ")
            writer.write(answer(b"{}", status="500 Oh") if confirmed else OK)
            await writer.drain()

    server = await serve(handle)
    http = open_http(server.url)
    for _ in range(BREAKER_FAILURES):
        sending = http.sending(yes)
        await sending.prepare(PRE)
        with pytest.raises(OutcomeUnknown):
            await sending.move(MONEY)
    with pytest.raises(NotSent):
        await http.sending(yes).prepare(PRE)
    assert server.received.count(b"POST") == 2 * BREAKER_FAILURES


async def test_failures_before_the_money_call_open_the_breaker(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever(answer(b"{}", status="500 Oh")))
    http = open_http(server.url)
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(NotSent):
            await http.sending(yes).prepare(PRE)
    with pytest.raises(NotSent):
        await http.call(MONEY, may_send=yes)
    assert server.received.count(b"POST") == BREAKER_FAILURES


async def test_calls_side_by_side_are_one_trial_of_an_open_breaker(serve: Serve, open_http: OpenHttp) -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    for _ in range(BREAKER_FAILURES):
        breaker.failed()
    server = await serve(answering_for_ever())
    http = open_http(server.url, breaker=breaker)
    with pytest.raises(NotSent):
        await pre_then_money(http, yes)
    assert not server.received
    clock.now += BREAKER_OPEN_S
    await pre_then_money(http, yes)
    await pre_then_money(http, yes)
    assert server.received.count(b"POST") == 6


async def test_cancelled_with_its_calls_under_way_nothing_more_is_sent(
    serve: Serve, open_http: OpenHttp
) -> None:
    server = await serve(silent)
    sending = asyncio.create_task(pre_then_money(open_http(server.url), yes))
    await eventually(lambda: server.has_received(b"POST", 2))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert server.received.count(b"POST") == 2


async def test_a_form_a_query_and_headers_of_a_call(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    request = HttpRequest(
        path=f"/intents/{segment('../pi 1')}",
        form={
            "metadata": {"reference": "pay_1-1"},
            "expand": ["latest_charge", "a&b"],
            "items": [{"n": 1}, {"n": 2}],
            "capture": True,
            "nothing": None,
        },
        query={"limit": 100},
        headers={"Idempotency-Key": "key-1"},
    )
    await open_http(server.url).call(request, may_send=yes)
    head, _, body = server.received.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /intents/..%2Fpi%201?limit=100 HTTP/1.1\r\n")
    assert b"Idempotency-Key: key-1" in head
    assert b"Content-Type: application/x-www-form-urlencoded" in head
    assert body == (
        b"metadata%5Breference%5D=pay_1-1&expand%5B%5D=latest_charge&expand%5B%5D=a%26b"
        b"&items%5B0%5D%5Bn%5D=1&items%5B1%5D%5Bn%5D=2&capture=true"
    )


async def test_a_get_has_no_body(serve: Serve, open_http: OpenHttp) -> None:
    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.received += await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()

    server = await serve(handle)
    await open_http(server.url).call(HttpRequest(method="GET", path="/intents/pi_1"), may_send=None)
    assert server.received.startswith(b"GET /intents/pi_1 HTTP/1.1")
    assert b"Content-" not in server.received


async def test_a_header_with_a_line_end_sends_nothing(serve: Serve, open_http: OpenHttp) -> None:
    server = await serve(answering_for_ever())
    request = HttpRequest(path="/intents", headers={"Idempotency-Key": "key\r\nX: y"})
    with pytest.raises(NotSent):
        await open_http(server.url).call(request, may_send=yes)
    assert server.received == b""


def test_nothing_of_a_request_shows() -> None:
    request = HttpRequest(path="/methods", form={"card": "4242"}, headers={"Authorization": "secret"})
    assert "4242" not in repr(request)
    assert "secret" not in repr(request)


@pytest.mark.parametrize("value", ["a/b", "..", ".", "a?b", "a b", "%2F"])
def test_a_segment_names_one_thing(value: str) -> None:
    made = segment(value)
    assert made not in (".", "..")
    assert not set(made) & set("/? ")
