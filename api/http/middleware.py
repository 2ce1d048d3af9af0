"""What surrounds every request: its id, its metrics, HEAD, and the answer to an error that nobody foresaw."""

import time
from contextlib import suppress
from traceback import extract_tb
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.passage import Passage, Passages
from api.problems import internal_problem, render
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.metrics import REQUEST_SECONDS, REQUESTS

REQUEST_ID = "request-id"
FRAMES_LOGGED_MAX = 12
MESSAGES_MAX = 3  # a client that is gone has sent nothing more than the rest of its body
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_CLOSED_BY_CLIENT = "disconnected"

log = get_logger(__name__)


class Envelope:
    """Pure ASGI. Every response carries `Request-Id`; an error becomes a 500 that tells nothing."""

    def __init__(self, app: ASGIApp, passages: Passages) -> None:
        self._app = app
        self._passages = passages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, passage = time.perf_counter(), Passage()
        method = scope["method"]
        request_id = random_id("req")
        scope.setdefault("state", {}).update(
            request_id=request_id, passage=passage, without_content=method == "HEAD"
        )
        if method == "HEAD":  # a GET without its content (RFC 9110 §9.3.2)
            scope = {**scope, "method": "GET"}
        response = _Response(send, request_id, without_content=method == "HEAD")
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, response.send)
            except ClientDisconnect:
                log.debug("client_disconnected")
                if response.broke:
                    await _until_told(receive)
            except Exception as error:
                _log_failure(error)
                if response.status is not None:
                    raise
                with suppress(ClientDisconnect):
                    await render(internal_problem(), request_id=request_id)(scope, receive, response.send)
            self._passages.ended(passage)
        _observe(scope, method, response.status, time.perf_counter() - began)


class _Response:
    """The way of one response to the server."""

    __slots__ = ("_request_id", "_send", "_without_content", "broke", "status")

    def __init__(self, send: Send, request_id: str, *, without_content: bool) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self._without_content = without_content
        self.status: int | None = None
        self.broke = False  # the connection, before the server was told that it did

    async def send(self, message: Message) -> None:
        """Raises `ClientDisconnect` where the client is gone."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (REQUEST_ID.encode(), self._request_id)]
            message = {**message, "headers": headers}
        elif self._without_content and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        try:
            await self._send(message)
        except RuntimeError as error:
            if not is_of_closed_transport(error):
                raise
            self.broke = True
            raise ClientDisconnect from error


def is_of_closed_transport(error: RuntimeError) -> bool:
    """Whether uvloop says that the connection broke in an earlier write. The server is told a turn later.

    Source: `UVHandle._ensure_alive`, uvloop 0.23; it has no type of its own.
    """
    return str(error).endswith("the handler is closed")


async def _until_told(receive: Receive) -> None:
    """The server knows that the client is gone; to a response that is not complete it would object."""
    for _ in range(MESSAGES_MAX):
        if (await receive())["type"] == "http.disconnect":
            return


def route_of(scope: Scope) -> str:
    """The template of the route that took the request: a label with few values."""
    path: Any = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"


def _observe(scope: Scope, method: str, status: int | None, seconds: float) -> None:
    label, route = method if method in _METHODS else "other", route_of(scope)
    REQUESTS.labels(label, route, _CLOSED_BY_CLIENT if status is None else status).inc()
    REQUEST_SECONDS.labels(label, route).observe(seconds)


def _log_failure(error: Exception) -> None:
    """The kinds of error and where they were raised; never their messages, which may quote data."""
    kinds: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < FRAMES_LOGGED_MAX:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    frames = extract_tb(error.__traceback__)[-FRAMES_LOGGED_MAX:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("request_failed", error=" from ".join(kinds), where=where)
