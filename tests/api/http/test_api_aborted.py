"""A client that hangs up during a response is its own affair: no error of ours is logged, and nobody is paged."""

import asyncio
from typing import Any

import pytest
import uvloop
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from api.http.middleware import Envelope, is_of_closed_transport
from api.http.passage import Passages

SCOPE = {"type": "http", "method": "GET", "path": "/openapi.json", "headers": []}


async def _write_after_the_connection_broke() -> RuntimeError:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    transport.abort()
    await asyncio.sleep(0)  # a turn of the loop, in which it closes
    try:
        transport.write(b"x")
    except RuntimeError as error:
        return error
    finally:
        server.close()
    raise AssertionError("uvloop says nothing of a connection that is closed")


@pytest.fixture
def broken() -> RuntimeError:
    """What uvloop raises between the write that failed and the word to the server that the client is gone."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_write_after_the_connection_broke())


class Connection:
    """A server's side of one request; the second message of the answer raises what it is told."""

    def __init__(self, error: Exception) -> None:
        self.sent: list[str] = []
        self.told = False
        self._error = error
        self._incoming = iter(["http.request", "http.disconnect"])

    async def send(self, message: Message) -> None:
        if self.sent:
            raise self._error
        self.sent.append(message["type"])

    async def receive(self) -> Message:
        kind = next(self._incoming)
        self.told = kind == "http.disconnect"
        return {"type": kind, "body": b"", "more_body": False}


async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 100_000})


async def _failures(connection: Connection) -> list[Any]:
    with capture_logs() as logs:
        await Envelope(answering, Passages(slow_s=1.0))(dict(SCOPE), connection.receive, connection.send)
    return [line for line in logs if line["event"] == "request_failed"]


async def test_an_aborted_read_is_no_request_failed(broken: RuntimeError) -> None:
    """Issue 14, 9: 200 aborted clients made 200 error lines, on which operators are paged."""
    connection = Connection(broken)

    assert await _failures(connection) == []
    assert connection.told  # before it ends: to a response that is not complete the server objects


@pytest.mark.parametrize("error", [RuntimeError("Response content longer than Content-Length"), KeyError()])
async def test_an_error_of_ours_is_one(error: Exception) -> None:
    connection = Connection(error)
    with capture_logs() as logs, pytest.raises(type(error)):
        await Envelope(answering, Passages(slow_s=1.0))(dict(SCOPE), connection.receive, connection.send)

    assert [line["event"] for line in logs] == ["request_failed"]


def test_only_the_word_for_a_closed_connection_is_taken_for_it(broken: RuntimeError) -> None:
    assert is_of_closed_transport(broken)
    assert not is_of_closed_transport(RuntimeError("Unexpected ASGI message"))
