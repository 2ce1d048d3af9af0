"""Callbacks over HTTP: an acquirer tells us what happened. What it says is not believed, it makes us ask."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from api.front import READ_S
from api.http.bodies import read_bytes
from api.http.rate_limits import Rates, TooManyRequests
from payonce.connectors.base import Callback
from payonce.domain.errors import CallbackInvalid, NotFound
from payonce.metrics import CALLBACKS
from payonce.runtime import Runtime
from payonce.storage.driver.database import within
from workers.inbox import Inbox

RECEIVED = 200


class Callbacks:
    """The handler of `/v1/connectors/{name}/callbacks`."""

    def __init__(self, runtime: Runtime, inbox: Inbox, rates: Rates) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._rates = rates

    async def receive(self, request: Request) -> Response:
        """Answers once the message is in the inbox, whether it is new or was there already."""
        name: str = request.path_params["name"]
        body = await read_bytes(request)
        callback = self._verified(name, {key.lower(): value for key, value in request.headers.items()}, body)
        try:
            await self._rates.charge_callback(
                name
            )  # what nobody signed takes no token from what the acquirer did
        except TooManyRequests:
            CALLBACKS.labels(name, "limited").inc()
            raise
        await within(READ_S, self._inbox.receive(name, callback))
        return Response(status_code=RECEIVED)

    def _verified(self, name: str, headers: dict[str, str], body: bytes) -> Callback:
        """The callback as one of the connector's accounts reads it. Raises `CallbackInvalid` or `NotFound`."""
        now = datetime.now(UTC)
        ids = [account.id for account in self._runtime.accounts if account.connector == name]
        calling = [self._runtime.connectors[id_] for id_ in ids]
        if not any(connector.capabilities.callbacks for connector in calling):
            raise NotFound
        for connector in calling:
            try:
                return connector.read_callback(headers, body, now=now)
            except CallbackInvalid:
                continue
        CALLBACKS.labels(name, "invalid").inc()
        raise CallbackInvalid
