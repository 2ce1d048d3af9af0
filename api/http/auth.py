"""Who is calling: one merchant in one mode, by a Bearer key (RFC 6750) or Basic (RFC 7617)."""

import base64
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers

from api.http.lookups import MOMENT_S, Remembered
from api.problems import Problem
from payonce.settings import Settings
from payonce.storage import merchants
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller

_BEARER = re.compile(r"bearer +(\S{1,256})", re.IGNORECASE)
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]{1,512}={0,2})", re.IGNORECASE)
_KEY = re.compile(r"sk_(?:test|live)_[A-Za-z0-9]{16,128}")


REMEMBERED_S = 5.0  # a look at Postgres takes as long as a tenth of a payment (docs/performance.md)
_REMEMBERED_MAX = 10_000


class Keys:
    """Recognizes API keys.

    A valid one is remembered for `REMEMBERED_S`: from so long after its revocation it opens nothing, anywhere. That
    one is unknown is remembered for a moment: a key that is shown when it is made was never asked about before.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = settings.secret_for("api_keys")
        self._live = settings.live
        self._callers = Remembered[bytes, Caller](REMEMBERED_S, most=_REMEMBERED_MAX, clock=clock)
        self._unknown = Remembered[bytes, bool](MOMENT_S, most=_REMEMBERED_MAX, clock=clock)

    def presented(self, headers: Headers) -> bytes:
        """The hash of the key in the request. Raises `Problem` when there is none, or not in our form."""
        values = headers.getlist("authorization")
        key = _key_in(values[0].strip()) if len(values) == 1 else None
        if key is None or not _KEY.fullmatch(key):
            raise _unauthenticated('Bearer realm="payonce"')
        return merchants.hash_key(key, secret=self._secret)

    def remembered(self, key_hash: bytes) -> Caller | None:
        """Who presented it a moment ago. Raises `Problem` where nobody was known by it then."""
        if self._unknown.get(key_hash):
            raise _unknown()
        return self._callers.get(key_hash)

    def has_opened(self, key_hash: bytes) -> bool:
        """Whether it was valid when it was looked up last."""
        return key_hash in self._callers

    async def caller(self, connection: Connection, key_hash: bytes) -> Caller:
        """Who presents it, and for whom the transaction speaks from now on.

        Raises `Problem` for an unknown or revoked key, or a live one not served.
        """
        if (known := self.remembered(key_hash)) is not None:
            connection.speak_for(known)
            return known
        caller = await merchants.authenticate(connection, key_hash=key_hash)
        if caller is None or (caller.mode == "live" and not self._live):
            self._callers.drop(key_hash)
            self._unknown.put(key_hash, True)
            raise _unknown()
        self._callers.put(key_hash, caller)
        return caller


def _unknown() -> Problem:
    return _unauthenticated('Bearer realm="payonce", error="invalid_token"')


def _key_in(credentials: str) -> str | None:
    """What is presented as a key: the token, or the user name, whose password says nothing (`curl -u sk_test_…:`)."""
    if bearer := _BEARER.fullmatch(credentials):
        return bearer[1]
    basic = _BASIC.fullmatch(credentials)
    if basic is None:
        return None
    try:
        name, colon, _ = base64.b64decode(basic[1], validate=True).decode("ascii").partition(":")
    except ValueError:
        return None
    return name if colon else None


def _unauthenticated(challenge: str) -> Problem:
    """One answer for every reason, with the challenge that RFC 9110 §11.6.1 asks for."""
    detail = "Send a valid API key as `Authorization: Bearer sk_test_…`, or as the user name of Basic."
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})
