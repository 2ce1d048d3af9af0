"""The object store: a folder or S3, by one URL; a key is put once, and what it holds never changes.

S3's credentials, region and endpoint are read from `AWS_*` as other programs do; its own names are those of obstore.
Source: obstore's documentation, "Conditional put" (`mode="create"`: `If-None-Match: *`, or a link in a folder).
"""

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import ObjectStore, S3Store, from_url

from payonce.domain.errors import PaymentError
from payonce.settings import Settings, SettingsWrong

if TYPE_CHECKING:  # they are in its stubs only
    from obstore import ListStream, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

CONNECT_S: Final = 2
REQUEST_S: Final = 10
CALL_S: Final = 20.0  # with what is tried again
RETRIES_MAX: Final = 2
OBJECT_BYTES_MAX: Final = 16 * 1024 * 1024
LISTED_MAX: Final = 10_000
SIGNED_FOR: Final = timedelta(seconds=60)
LOOK_S: Final = 2.0  # while a request waits
PROOF_KEY: Final = "payonce/put-once"
SCHEMES: Final = ("file:///", "s3://")
_ABSENT: Final = (NotFoundError, FileNotFoundError)  # the second in a folder, and in S3
T = TypeVar("T")


class StoreUnavailable(PaymentError):
    """The object store does not do what it was asked; nothing is known of what it has."""

    code = "store_unavailable"
    retryable = True


class StoreOverwrites(SettingsWrong):
    """The object store takes a second put of a key: what lies there proves nothing."""


class ReceiptStore:
    """Safe to use by many at a time. Each call ends within `CALL_S`; raises `StoreUnavailable`.

    `signing`: the same S3 as merchants reach it, which gives what it holds to whoever has a signed address.
    """

    def __init__(self, objects: ObjectStore, *, signing: S3Store | None = None) -> None:
        self._objects = objects
        self._signing = signing

    async def put_once(
        self,
        key: str,
        content: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        within_s: float | None = None,
    ) -> bool:
        """The key holds these bytes from now on; False where it was there already, with whatever it holds.

        After an error it may be there: `get` tells. S3 gives it with these headers; a folder has none.
        """
        if len(content) > OBJECT_BYTES_MAX:
            raise ValueError(f"{key} is longer than {OBJECT_BYTES_MAX} bytes")
        attributes: Any = dict(headers or {}) if self.signs else None
        put = obstore.put_async(
            self._objects, key, content, mode="create", use_multipart=False, attributes=attributes
        )
        try:
            await _within(put, seconds=CALL_S if within_s is None else within_s)
        except AlreadyExistsError:
            return False
        return True

    async def prove(self) -> None:
        """A second put of a key is refused, and does not change what it holds.

        Raises `StoreOverwrites`: some that look like S3 ignore the condition.
        """
        first = b"What is put once stays as it is."
        await self.put_once(PROOF_KEY, first)
        refused = not await self.put_once(PROOF_KEY, b"And this is another text.")
        if not refused or await self.get(PROOF_KEY) != first:
            raise StoreOverwrites(
                "PAYONCE_RECEIPTS_URL: the store takes a second put of a key (`If-None-Match: *`), or does not give"
                f" what was put ({PROOF_KEY})"
            )

    @property
    def signs(self) -> bool:
        """Whether it gives what it holds by itself, to whoever has a signed address."""
        return self._signing is not None

    def signed_url(self, key: str, *, method: Literal["GET", "HEAD"] = "GET") -> str:
        """Where it can be fetched, or looked at, for `SIGNED_FOR`, by anybody who has the address."""
        assert self._signing is not None, "asked only where it signs"
        return obstore.sign(self._signing, method, key, SIGNED_FOR)

    async def delete(self, key: str) -> None:
        """The key holds nothing. Safe to repeat. Raises `StoreUnavailable`, also where it may not be deleted."""
        try:
            await _within(obstore.delete_async(self._objects, key))
        except _ABSENT:
            return

    async def get(self, key: str, *, within_s: float = CALL_S) -> bytes | None:
        """What the key holds; None where nothing was put."""
        try:
            found = await _within(obstore.get_async(self._objects, key), seconds=within_s)
            if found.meta["size"] > OBJECT_BYTES_MAX:
                raise StoreUnavailable(f"{key} is longer than {OBJECT_BYTES_MAX} bytes")
            return bytes(await _within(found.bytes_async(), seconds=within_s))
        except _ABSENT:
            return None

    async def list(self, prefix: str) -> tuple[str, ...]:
        """The keys in the folder `prefix`, in their order. Raises `StoreUnavailable` for more than `LISTED_MAX`."""
        keys: list[str] = []
        pages = obstore.list(self._objects, prefix, chunk_size=1_000)
        while page := await _within(_next(pages)):
            keys += (each["path"] for each in page)
            if len(keys) > LISTED_MAX:
                raise StoreUnavailable(f"more than {LISTED_MAX} keys begin with {prefix}")
        return tuple(sorted(keys))


def open_store(settings: Settings) -> ReceiptStore:
    """The store that the settings name. Raises `SettingsWrong` where they name none, or one that cannot be."""
    url = settings.receipts_url
    if url is None:
        raise SettingsWrong("PAYONCE_RECEIPTS_URL: it is not set")
    if not url.startswith(SCHEMES):
        raise SettingsWrong(f"PAYONCE_RECEIPTS_URL: must begin with {' or '.join(SCHEMES)}")
    try:
        if url.startswith("file:///"):
            return ReceiptStore(from_url(url, mkdir=True))
        return _s3(url, settings)
    except (BaseError, ValueError) as error:
        raise SettingsWrong(f"PAYONCE_RECEIPTS_URL: {_first_line(error)}") from error


def _s3(url: str, settings: Settings) -> ReceiptStore:
    """Without TLS it may be spoken to on one host only, and not in live mode."""
    client: ClientConfig = {
        "allow_http": not settings.live,
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "timeout": timedelta(seconds=REQUEST_S),
    }
    retry: RetryConfig = {"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=CALL_S)}
    for name in _ENDPOINTS:
        if settings.live and not os.environ.get(name, "https://").lower().startswith("https://"):
            raise SettingsWrong(f"{name}: live mode speaks to S3 over https:// only")
    options: dict[str, Any] = {"client_options": client, "retry_config": retry, **_encryption(settings)}
    objects = S3Store.from_url(url, **options)
    if settings.receipts_endpoint is None:
        return ReceiptStore(objects, signing=objects)
    public: dict[str, Any] = {"endpoint": settings.receipts_endpoint}
    return ReceiptStore(objects, signing=S3Store.from_url(url, **options, **public))


_ENDPOINTS: Final = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def _encryption(settings: Settings) -> dict[str, str]:
    """What S3 is asked to encrypt with. Source: S3, `x-amz-server-side-encryption`."""
    if settings.receipts_encryption == "none":
        return {}
    key = settings.receipts_kms_key
    named = {} if key is None else {"sse_kms_key_id": key}
    return {"server_side_encryption": settings.receipts_encryption, **named}


async def _within(call: Awaitable[T], *, seconds: float = CALL_S) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except (AlreadyExistsError, *_ABSENT):
        raise
    except (BaseError, TimeoutError, OSError) as error:
        raise StoreUnavailable(f"the object store: {_first_line(error)}") from error


async def _next(pages: "ListStream[Sequence[ObjectMeta]]") -> "Sequence[ObjectMeta]":
    """An empty one at the end: `anext` cannot take a default for what is not Python's own."""
    try:
        return await anext(pages)
    except StopAsyncIteration:
        return ()


def _first_line(error: BaseException) -> str:
    """Without the rest, in which requests stand with their signatures."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
