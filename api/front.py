"""What every handler begins with: who is calling, and what was understood of the request."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial, wraps
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from api.admission.admission import Admission
from api.admission.requests import KeyUnknown, Post
from api.admission.waiting import Result
from api.http import key_header
from api.http.auth import Keys
from api.http.bodies import members_of, read_body
from api.http.large_bodies import LargeBodies
from api.http.lookups import Lookups
from api.http.rate_limits import Rates
from api.http.spellings import id_meant
from api.http.validation import understand
from api.problems import Mistake, Problem
from api.schemas.payments import Body, Context
from payonce.domain.answers import Answer
from payonce.domain.audit import Actor, ActorKind
from payonce.domain.errors import NotFound
from payonce.domain.ids import ID_PATTERN
from payonce.runtime import Runtime
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import StorageUnavailable, within
from payonce.storage.idempotency import find_key
from payonce.storage.merchants import Caller

AUTHENTICATION_S = 2.5  # what a POST may lose before it is admitted
READ_S = 8.0  # so that a read, like every request, is answered within 10 s
_TRIES = 2  # a connection from before a restart of Postgres fails once, and its pool with it

T = TypeVar("T")
B = TypeVar("B", bound=Body)
K = TypeVar("K", str, str | None)
Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[Connection, Caller], Awaitable[T]]
Begin = Callable[[Caller | None], AbstractAsyncContextManager[Connection]]
Execute = Callable[[Connection, Caller, B], Awaitable[tuple[Answer, str]]]


class Front:
    """Authenticates and understands requests for the handlers."""

    def __init__(self, runtime: Runtime, admission: Admission, rates: Rates) -> None:
        self.runtime = runtime
        self.admission = admission
        self._rates = rates
        self._keys = Keys(runtime.settings)
        self._lookups = Lookups()
        self._large_bodies = LargeBodies()
        self._secret = runtime.settings.secret_for("fingerprints")
        self._key_secret = runtime.settings.secret_for("idempotency_keys")

    def keyed(self, handler: Handler) -> Handler:
        """The handler, but that a request without an API key that opens is 401, whatever else is wrong with it."""

        @wraps(handler)
        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except (Problem, NotFound) as error:
                unknown = isinstance(error, Problem) and error.problem_code == "unauthenticated"
                if not (unknown or hasattr(request.state, "charged")):
                    with suppress(StorageUnavailable):
                        await self._charged(request)
                raise

        return handle

    async def post(self, request: Request, model: type[B]) -> tuple[Post, B]:
        """A POST as understood: by whom, under which key, with which body. Raises `Problem`, `KeyUnknown`."""
        caller, key, body = await self._keyed(request, model, key_header.required_key)
        return await self._understood(request, caller, body, key=key), body

    async def once(self, request: Request, model: type[B], work: Execute[B]) -> Result:
        """The answer of a POST whose key is optional: executed once under a key, each time without one.

        `work` writes in one transaction and returns the answer with the path of the object. Raises `Problem`.
        """
        caller, key, body = await self._keyed(request, model, key_header.optional_key)

        async def execute(connection: Connection, caller: Caller) -> tuple[Answer, str]:
            return await work(connection, caller, body)

        if key is None:
            answer, location = await self.write(request, execute)
            return Result(answer=answer, current=None, location=location, replayed=False)
        post = await self._understood(request, caller, body, key=key)
        return await self.admission.execute_once(post, partial(execute, caller=caller))

    async def _keyed(
        self, request: Request, model: type[B], read_key: Callable[[Headers], K]
    ) -> tuple[Caller, K, B]:
        """As `body`, with the key, which is read before the body is.

        Raises `KeyUnknown` where it comes with a key and cannot be told whose that is.
        """
        try:
            caller = await self._without_query(request)
        except StorageUnavailable as error:
            if key_header.optional_key(request.headers) is None:
                raise
            raise KeyUnknown from error
        key = read_key(request.headers)
        return caller, key, await self._body_from(request, model, caller)

    async def _understood(self, request: Request, caller: Caller, body: Body, *, key: str) -> Post:
        understood = body.model_dump(mode="json", context=self._hash_number)
        return Post(
            caller=caller,
            key=key,
            fingerprint=key_header.fingerprint(
                understood, method=request.method, path=request.scope["path"], secret=self._secret
            ),
            request_id=request.state.request_id,
            wait_s=key_header.wait_s(request.headers),
            hashed_key=await self._hashed(caller, key),
            origin=_origin(request),
            passage=request.state.passage,
        )

    async def _hashed(self, caller: Caller, key: str) -> str | None:
        """What is stored in the key's place, if anything is. Raises `KeyUnknown`.

        A key that an earlier release stored as it is stays so, and means what it meant. While such a release runs
        beside this one both may take a key, each in its form; the second's operation has the id of the first's, and
        is not admitted.
        """
        hashed = key_header.hashed(key, caller=caller, secret=self._key_secret)
        if hashed is None:
            return None
        try:
            return None if await within(AUTHENTICATION_S, self._is_stored(caller, key)) else hashed
        except StorageUnavailable as error:
            raise KeyUnknown from error

    async def _is_stored(self, caller: Caller, key: str) -> bool:
        async with self.runtime.tenants.reading(caller) as connection:
            return (
                await find_key(connection, merchant_id=caller.merchant_id, mode=caller.mode, key=key)
                is not None
            )

    def stored_forms(self, caller: Caller, key: str) -> list[str]:
        """What may be stored of a key."""
        hashed = key_header.hashed(key, caller=caller, secret=self._key_secret)
        return [key] if hashed is None else [key, hashed]

    async def body(self, request: Request, model: type[B]) -> tuple[Caller, B]:
        """Who sent it, and its body.

        Raises `Problem`, and `TooManyRequests`, also for large bodies that come too fast.
        """
        caller = await self._without_query(request)
        return caller, await self._body_from(request, model, caller)

    async def _without_query(self, request: Request) -> Caller:
        """Who sent it, with one token less, and nothing in the query string. Raises as `caller` does."""
        caller = await self._charged(request)
        if request.scope["query_string"]:
            raise Problem(
                "invalid_request",
                f"A {request.method} takes no query string.",
                mistakes=[Mistake("", "must be in the body, not in the query string")],
            )
        return caller

    async def _body_from(self, request: Request, model: type[B], caller: Caller) -> B:
        raw = await read_body(request)
        context = Context(
            mode=caller.mode,
            allow_loopback=self.runtime.settings.allow_loopback_webhooks,
        )
        async with self._large_bodies.one(caller, len(raw or b"")):
            members = {} if raw is None else members_of(raw)
            return understand(model, members, context)

    async def caller(self, request: Request) -> Caller:
        """Who is calling. Raises `Problem`, `TooManyRequests`, or `StorageUnavailable` within `AUTHENTICATION_S`."""
        key_hash = self._keys.presented(request.headers)
        known = self._keys.remembered(key_hash)
        if known is not None:
            return known
        tenants = self.runtime.tenants
        begin = tenants.browsing if _only_looks(request) else tenants.reading
        if self._keys.has_opened(key_hash):
            return await self._within(AUTHENTICATION_S, request, _only_caller, begin)
        return await within(AUTHENTICATION_S, self._new_caller(key_hash, begin))

    async def _new_caller(self, key_hash: bytes, begin: Begin) -> Caller:
        """Who presents a key that has opened nothing here. Raises as `caller` does, and `TooManyRequests`."""
        async with self._lookups.one():
            return await self._read(key_hash, _only_caller, begin)

    async def read(self, request: Request, work: Work[T]) -> T:
        """What `work` reads for the caller. Raises `Problem`, or `StorageUnavailable` within `READ_S`.

        On connections for lists and look-ups only: however many there are, payments have theirs.
        """
        await self._charged(request)
        return await self._within(READ_S, request, work, self.runtime.tenants.browsing)

    async def write(self, request: Request, work: Work[T]) -> T:
        """What `work` did in one transaction, tried once. Raises as `read` does, and `CommitUnknown`."""
        await self._charged(request)
        key_hash = self._keys.presented(request.headers)
        return await within(READ_S, self._write(key_hash, work))

    async def _charged(self, request: Request) -> Caller:
        """Who is calling, with one token less for this request. Raises as `caller` does, and `TooManyRequests`."""
        caller = await self.caller(request)
        if not hasattr(request.state, "charged"):
            request.state.charged = True
            await self._rates.charge(caller, reads=_only_looks(request))
        return caller

    async def _within(self, seconds: float, request: Request, work: Work[T], begin: Begin) -> T:
        """Not waited for any longer, even when Postgres is stopped and nothing can be cancelled in time."""
        key_hash = self._keys.presented(request.headers)
        return await within(seconds, self._read(key_hash, work, begin))

    async def _write(self, key_hash: bytes, work: Work[T]) -> T:
        known = self._keys.remembered(key_hash)
        async with self.runtime.tenants.transaction(known) as connection:
            return await work(connection, known or await self._keys.caller(connection, key_hash))

    async def _read(self, key_hash: bytes, work: Work[T], begin: Begin) -> T:
        for left in reversed(range(_TRIES)):
            try:
                known = self._keys.remembered(key_hash)
                async with begin(known) as connection:
                    return await work(connection, known or await self._keys.caller(connection, key_hash))
            except StorageUnavailable:
                if not left:
                    raise
        raise AssertionError("at least one try")

    @property
    def _hash_number(self) -> Callable[[str], str]:
        return partial(key_header.hash_number, secret=self._secret)


def key_of(request: Request, caller: Caller) -> Actor:
    """Who decides, to the audit log, by a request that is no `Post`."""
    return Actor(kind=ActorKind.API_KEY, id=caller.key_id, origin=_origin(request))


def path_id(request: Request) -> str:
    """The id in the path; of a look-up, however it was spelled. Raises `NotFound` for what cannot be an id."""
    value: str = request.path_params["id"]
    if _only_looks(request):
        value = id_meant(value)
    if "_" not in value or not ID_PATTERN.match(value):  # a number alone may be a card's
        raise NotFound
    return value


def _origin(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def _only_looks(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


async def _only_caller(_connection: Connection, caller: Caller) -> Caller:
    return caller
