"""Who is calling: one merchant in one mode, by a Bearer key (RFC 6750)."""

import re

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.datastructures import Headers

from api.problems import Problem
from payonce.settings import Settings
from payonce.storage import merchants
from payonce.storage.merchants import Caller

_BEARER = re.compile(r"bearer +(sk_(?:test|live)_[A-Za-z0-9]{16,128})", re.IGNORECASE)


class Keys:
    """Recognizes API keys. Nothing is remembered, so that a revoked key opens nothing from its commit on."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret_for("api_keys")
        self._live = settings.live

    def presented(self, headers: Headers) -> bytes:
        """The hash of the key in the request. Raises `Problem` when there is none, or not in our form."""
        values = headers.getlist("authorization")
        found = _BEARER.fullmatch(values[0].strip()) if len(values) == 1 else None
        if found is None:
            raise _unauthenticated('Bearer realm="payonce"')
        return merchants.hash_key(found[1], secret=self._secret)

    async def caller(self, connection: AsyncConnection, key_hash: bytes) -> Caller:
        """Who presents it. Raises `Problem` for an unknown or revoked key, or a live one not served."""
        caller = await merchants.authenticate(connection, key_hash=key_hash)
        if caller is None or (caller.mode == "live" and not self._live):
            raise _unauthenticated('Bearer realm="payonce", error="invalid_token"')
        return caller


def _unauthenticated(challenge: str) -> Problem:
    """One answer for every reason, with the challenge that RFC 9110 §11.6.1 asks for."""
    detail = "Send a valid API key as `Authorization: Bearer sk_test_…`."
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})
