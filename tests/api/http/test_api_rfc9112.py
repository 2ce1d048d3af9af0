"""RFC 9112, and what it takes from RFC 9110, as a list: what must be refused is refused, what must be taken is taken.

Each line names its section. To refuse is a problem document with that status, and the connection's end: what follows
may be read differently by somebody else.
"""

import json
from collections.abc import AsyncIterator

import pytest

from api.http.protocol import HEAD_BYTES_MAX
from payonce.runtime import Runtime
from tests.api.conftest import Serving, app_of, serving_of
from tests.api.fakes import FakeAdmission
from tests.api.lines import LIVEZ, Line, line_to

HOST = "Host: api.test\r\n"
BODY = b"{}"
TE = "Transfer-Encoding: chunked\r\n"


def get(
    fields: str = HOST, *, target: str = "/livez", method: str = "GET", version: str = "HTTP/1.1"
) -> bytes:
    return f"{method} {target} {version}\r\n{fields}\r\n".encode("latin-1")


def post(fields: str, body: bytes = BODY) -> bytes:
    return f"POST /v1/payments HTTP/1.1\r\n{HOST}{fields}\r\n".encode("latin-1") + body


REFUSED = [
    ("9112 2.2: a bare CR is invalid", get(HOST + "X: a\rb\r\n"), 400),
    ("9112 2.2: a bare CR in the request line", b"GET /livez\rX HTTP/1.1\r\n\r\n", 400),
    ("9112 2.2: space before the first field", get(" " + HOST), 400),
    ("9112 2.2: a tab before the first field", get("\tX: 1\r\n" + HOST), 400),
    ("9112 2.3: the version has a form", get(version="HTTP/1.1.1"), 400),
    ("9112 2.3: the version's name has capitals", get(version="http/1.1"), 400),
    ("9112 2.3: another major version", get(version="HTTP/2.0"), 400),
    ("9112 3: nothing but a request line", b"nonsense\r\n\r\n", 400),
    ("9112 3: a target longer than is parsed", get(target="/" + "x" * HEAD_BYTES_MAX), 414),
    ("9112 3.2: no Host", get(""), 400),
    ("9112 3.2: no Host among others", get("X-Host: a\r\n"), 400),
    ("9112 3.2: two Hosts", get(HOST + HOST), 400),
    ("9112 3.2: two Hosts that differ", get(HOST + "host: other.test\r\n"), 400),
    ("9112 3.2: two Hosts in HTTP/1.0", get(HOST + HOST, version="HTTP/1.0"), 400),
    ("9112 3.2: Host with a space", get("Host: a b\r\n"), 400),
    ("9112 3.2: Host with a path", get("Host: a/b\r\n"), 400),
    ("9112 3.2: Host with user information", get("Host: u@a\r\n"), 400),
    ("9112 3.2: Host as an address with a scheme", get("Host: http://a\r\n"), 400),
    ("9112 3.2: Host with a port that is no number", get("Host: a:b\r\n"), 400),
    ("9112 3.2: Host with two ports", get("Host: a:1:2\r\n"), 400),
    ("9112 3.2: Host with an open bracket", get("Host: [::1\r\n"), 400),
    ("9112 3.2: Host with brackets around no address", get("Host: [1::2::3]\r\n"), 400),
    ("9112 3.2: Host with half an escape", get("Host: a%2\r\n"), 400),
    ("9112 3.2: Host that is not ASCII", get("Host: caf\xe9.test\r\n"), 400),
    ("9112 3.2: Host that is invalid in HTTP/1.0", get("Host: a b\r\n", version="HTTP/1.0"), 400),
    (
        "9112 3.2: two Hosts beside an Upgrade",
        get(HOST + HOST + "Connection: upgrade\r\nUpgrade: h2c\r\n"),
        400,
    ),
    ("9112 3.2: a target of no form", get(target="livez"), 400),
    ("9112 3.2: a target with a fragment", get(target="/livez#x"), 400),
    ("9112 3.2.2: an absolute form with a fragment", get(target="http://api.test/livez#x"), 400),
    ("9112 3.2.3: the authority form is for CONNECT", get(target="api.test:80"), 400),
    ("9112 3.2.4: the asterisk form is for OPTIONS", get(target="*"), 400),
    ("9110 4.2.1: an http URI without a host", get(target="http:///livez"), 400),
    ("9110 4.2.1: an http URI with nothing but a port", get(target="http://:80/livez"), 400),
    ("9110 4.2.2: an https URI without a host", get(target="https:///livez"), 400),
    ("9110 4.2.4: user information", get(target="http://user@api.test/livez"), 400),
    ("9110 7.1: a target of another scheme", get(target="ftp://api.test/livez"), 400),
    ("9112 5: a field without a name", get(HOST + ": 1\r\n"), 400),
    ("9112 5: a field without a colon", get(HOST + "X\r\n"), 400),
    ("9110 5.1: a name that is no token", get(HOST + "X(y: 1\r\n"), 400),
    ("9112 5.1: space before a colon", get(HOST + "X : 1\r\n"), 400),
    ("9112 5.1: a tab before a colon", get(HOST + "X\t: 1\r\n"), 400),
    ("9112 5.2: a folded line", get(HOST + "X: a\r\n b\r\n"), 400),
    ("9112 5.2: a folded line with a tab", get(HOST + "X: a\r\n\tb\r\n"), 400),
    ("9110 5.5: NUL in a value", get(HOST + "X: a\0b\r\n"), 400),
    ("9110 5.5: LF in a value", get(HOST + "X: a\nb\r\n"), 400),
    ("9110 9.3.6: CONNECT to what is no proxy", get(method="CONNECT", target="api.test:80"), 400),
    ("9112 6.1: a coding that is not understood", post("Transfer-Encoding: gzip, chunked\r\n"), 400),
    ("9112 6.1: chunked twice", post("Transfer-Encoding: chunked, chunked\r\n"), 400),
    ("9112 6.1: a coding in HTTP/1.0", get(HOST + TE, version="HTTP/1.0") + b"0\r\n\r\n", 400),
    ("9112 6.3: chunked is not the last coding", post("Transfer-Encoding: chunked, gzip\r\n"), 400),
    ("9112 6.3: no chunked at all", post("Transfer-Encoding: gzip\r\n"), 400),
    ("9112 6.3: a coding and a length", post(TE + "Content-Length: 2\r\n"), 400),
    ("9112 6.3: a length that is no number", post("Content-Length: two\r\n"), 400),
    ("9112 6.3: a negative length", post("Content-Length: -2\r\n"), 400),
    ("9112 6.3: an empty length", post("Content-Length: \r\n"), 400),
    ("9112 6.3: a length beyond every number", post("Content-Length: 99999999999999999999999\r\n"), 400),
    ("9112 6.3: lengths that differ", post("Content-Length: 2\r\nContent-Length: 3\r\n"), 400),
    ("9112 6.3: lengths that differ in a list", post("Content-Length: 2, 3\r\n"), 400),
    ("9112 7.1: a chunk's size that is no number", post(TE, b"x\r\n{}\r\n0\r\n\r\n"), 400),
    ("9112 7.1: a chunk's size that overflows", post(TE, b"fffffffffffffffff\r\n{}"), 400),
    ("9112 7.1: a chunk that is longer than its size", post(TE, b"1\r\n{}\r\n0\r\n\r\n"), 400),
    ("9112 7.1: chunks that end with LF", post(TE, b"2\n{}\n0\n\n"), 400),
    ("9112 7.1.1: an extension with a line break", post(TE, b'2;a="\n"\r\n{}\r\n0\r\n\r\n'), 400),
]

TAKEN = [
    ("9112 2.2: empty lines before the request line", b"\r\n\r\n" + LIVEZ, 200),
    ("9112 3.2: an empty Host", get("Host:\r\n"), 200),
    ("9112 3.2: Host with a port", get("Host: api.test:8080\r\n"), 200),
    ("9112 3.2: Host with an empty port", get("Host: api.test:\r\n"), 200),
    ("9112 3.2: Host as an IPv6 address", get("Host: [::1]:8080\r\n"), 200),
    ("9112 3.2: Host with an escape", get("Host: caf%C3%A9.test\r\n"), 200),
    ("9112 3.2: Host in any letters", get("hOST: API.test\r\n"), 200),
    ("9112 3.2: no Host in HTTP/1.0", get("", version="HTTP/1.0"), 200),
    ("9112 3.2.2: the absolute form", get(target="http://api.test/livez?x=1"), 200),
    ("9112 3.2.2: the absolute form, and another Host", get("Host: other\r\n", target="http://api.test/livez"), 200),
    ("9112 3.2.2: the absolute form of https", get(target="https://api.test:443/livez"), 200),
    ("9112 3.2.2: the absolute form with an empty path", get(target="http://api.test"), 404),
    ("9112 3.2.2: the absolute form with an empty path and a query", get(target="http://api.test?x"), 404),
    ("9112 3.2.4: the asterisk form of OPTIONS", get(method="OPTIONS", target="*"), 404),
    ("9110 5.3: a field in two lines", get(HOST + "Accept: a\r\nAccept: b\r\n"), 200),
    ("9110 5.5: a value with bytes beyond ASCII", get(HOST + "X: caf\xe9\r\n"), 200),
    ("9112 7.1.1: an extension that nobody knows", get(HOST + TE) + b'2;a="b;c";d\r\n{}\r\n0\r\n\r\n', 200),
    ("9112 7.1.2: trailers", get(HOST + TE) + b"2\r\n{}\r\n0\r\nX: 1\r\n\r\n", 200),
    ("9110 7.8: Upgrade may be ignored", get(HOST + "Connection: upgrade\r\nUpgrade: h2c\r\n"), 200),
]  # fmt: skip


@pytest.fixture(scope="module")
async def one_server(runtime: Runtime) -> AsyncIterator[Serving]:
    async with serving_of(app_of(runtime, FakeAdmission())) as served:
        yield served


@pytest.fixture
async def line(one_server: Serving) -> AsyncIterator[Line]:
    async with line_to(one_server) as opened:
        yield opened


@pytest.mark.parametrize(
    ("sent", "status"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_what_must_be_refused_is_refused_and_ends_the_connection(
    line: Line, sent: bytes, status: int
) -> None:
    await line.send(sent)
    await line.refused(status)


@pytest.mark.parametrize(("sent", "status"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
async def test_what_must_be_taken_is_taken(line: Line, sent: bytes, status: int) -> None:
    await line.send(sent)
    assert (await line.answer())[0] == status


async def test_a_head_in_pieces_is_refused_as_in_one(line: Line) -> None:
    for byte in get(HOST + HOST):
        await line.send(bytes([byte]))
    await line.refused()


async def test_a_target_that_is_too_long_is_told_from_a_head_that_is(line: Line) -> None:
    await line.send(b"GET /")
    await line.send(b"x" * HEAD_BYTES_MAX)
    status, body = await line.answer()
    assert (status, json.loads(body)["code"]) == (414, "uri_too_long")


async def test_http_1_0_is_never_told_to_continue(line: Line) -> None:
    """RFC 9110 §10.1.1: the expectation is ignored, and the client would take a 100 for the answer."""
    head = get(HOST + "Content-Length: 2\r\nExpect: 100-continue\r\n", version="HTTP/1.0", method="POST")
    await line.send(head.replace(b"/livez", b"/v1/connectors/none/callbacks") + BODY)
    assert (await line.answer())[0] == 404


async def test_nothing_is_read_behind_a_request_that_says_close(line: Line) -> None:
    """RFC 9112 §9.6: no further request is processed."""
    await line.send(get(HOST + "Connection: close\r\n"))
    assert (await line.answer())[0] == 200
    await line.ends()
