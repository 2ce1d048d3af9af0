"""Callbacks over HTTP: an acquirer tells us what happened. What it says is not believed, it makes us ask."""

from contextlib import suppress
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
    """The handler of `/v1/connectors/{name}/{account}/callbacks`, and of the address without an account."""

    def __init__(self, runtime: Runtime, inbox: Inbox, rates: Rates) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._rates = rates

    async def receive(self, request: Request) -> Response:
        """Answers once the message is in the inbox, whether it is new or was there already."""
        name: str = request.path_params["name"]
        body = await read_bytes(request)
        headers = {key.lower(): value for key, value in request.headers.items()}
        callback, accounts = self._verified(name, request.path_params.get("account"), headers, body)
        try:
            await self._rates.charge_callback(
                name
            )  # what nobody signed takes no token from what the acquirer did
        except TooManyRequests:
            CALLBACKS.labels(name, "limited").inc()
            raise
        for each in (callback, *callback.beside):  # where one cannot be kept, all are told again
            await within(READ_S, self._inbox.receive(name, each, accounts=accounts))
        return Response(status_code=RECEIVED)

    def _verified(
        self, name: str, account: str | None, headers: dict[str, str], body: bytes
    ) -> tuple[Callback, list[str]]:
        """The callback, and the accounts whose secrets signed it. Raises `CallbackInvalid` or `NotFound`.

        Without an account in the address these are among the connector's accounts in the settings.
        """
        now = datetime.now(UTC)
        ids = self._addressed(name, account)
        calling = {id_: self._runtime.accounts.connectors[id_] for id_ in ids}
        if not any(connector.capabilities.callbacks for connector in calling.values()):
            raise NotFound
        read: dict[str, Callback] = {}
        for id_, connector in calling.items():
            with suppress(CallbackInvalid):
                read[id_] = connector.read_callback(headers, body, now=now)
        if not read:
            CALLBACKS.labels(name, "invalid").inc()
            raise CallbackInvalid
        return next(iter(read.values())), list(read)

    def _addressed(self, name: str, account: str | None) -> list[str]:
        accounts = self._runtime.accounts
        if account is None:
            return accounts.called(name)
        return [account] if accounts.is_of(account, name) else []
