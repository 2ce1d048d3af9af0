"""The renderer: draws the receipts that were asked for, each in a process that shares nothing with this one, and puts
them into the store.

Several renderers share the work through leases in Postgres. Wherever one is stopped: what lies in the store under a
key that its row can have, with the hash that the key names, is that receipt.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from payonce.domain.errors import PaymentError
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.metrics import RECEIPTS, RECEIPTS_OLDEST_SECONDS, RECEIPTS_WAITING, Rounds
from payonce.receipts import extra, press
from payonce.receipts.headers import kept_with
from payonce.receipts.material import TooLong, read_material
from payonce.receipts.press import NotDrawn, Press
from payonce.receipts.store import ReceiptStore, StoreOverwrites, StoreUnavailable
from payonce.receipts.view import NothingToShow
from payonce.runtime import Runtime
from payonce.storage import receipts
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.receipts import LEASED_FOR, ReceiptRow
from payonce.waiting import back_off_s, first

POLL_S: Final = 1.0  # without a wake-up: hints that got lost, and what was put off
BACK_OFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # while Postgres or the store does not answer
NOT_DRAWN_S: Final = (5.0, 30.0, 120.0, 600.0)  # of one receipt that cannot be drawn
COUNTED_EVERY_S: Final = 10.0
STORE_S: Final = 10.0  # of one call
RELEASE_S: Final = 1.0


class NotOurs(PaymentError):
    """The store holds under a key other bytes than those whose hash it names."""

    code = "receipt_not_ours"


log = get_logger(__name__)
Ready = Callable[[], Awaitable[None]]


async def run_renderer(runtime: Runtime, stop: asyncio.Event) -> None:
    """Receipts are drawn until `stop` is set. Raises `StoreOverwrites`, and `SettingsWrong` for what is no store."""
    settings = runtime.settings
    if runtime.receipts is None:
        log.warning("receipts_off", why="PAYONCE_RECEIPTS_URL is not set")
        await stop.wait()
        return
    async with (
        runtime.wakeups.hearing_receipts() as heard,
        press.opened(settings.receipts_presses) as presses,
    ):
        renderer = Renderer(runtime.database, runtime.receipts, presses)
        await renderer.run(stop, heard=heard, ready=lambda: extra.ensure(settings.receipts_requirements))


class Renderer:
    """What is due is leased, so many at a time as there are presses."""

    def __init__(self, database: Database, store: ReceiptStore, presses: Sequence[Press]) -> None:
        self._database, self._store, self._presses = database, store, presses
        self._is_proven = False  # that the store refuses a second put
        self._token: str | None = None  # of what is leased now
        self._counted_at_s = 0.0

    async def run(self, stop: asyncio.Event, *, heard: asyncio.Event, ready: Ready) -> None:
        """Returns after `stop`; what is under way then is leased again later. Raises `StoreOverwrites`.

        `ready` is asked before anything is drawn.
        """
        working = asyncio.create_task(self._work(heard, ready))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
            await self._give_back()

    async def _give_back(self) -> None:
        """What was leased and is not on its way may be leased by others at once."""
        if self._token is None:
            return
        try:
            async with asyncio.timeout(RELEASE_S), self._database.transaction() as connection:
                await receipts.release(connection, token=self._token)
        except Exception as error:  # the leases end by themselves
            log.warning("renderer_gave_nothing_back", error=type(error).__name__)

    async def _work(self, heard: asyncio.Event, ready: Ready) -> None:
        failures, rounds = 0, Rounds("receipts")
        while True:
            heard.clear()
            try:
                more = await self.step(ready)
                failures = 0
                rounds.ended()
            except StoreOverwrites:
                raise
            except Exception as error:  # whatever it is, receipts go on
                pause_s = back_off_s(BACK_OFF_S, failures=failures)
                failures += 1
                _say(error, retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                continue
            if not more:
                await first(heard, timeout_s=POLL_S)

    async def step(self, ready: Ready) -> bool:
        """What is due is drawn and stored, as many as there are presses; whether there was anything.

        Raises `StoreUnavailable` where the store does not take it: it is as due as before.
        """
        await self._count()
        if not self._is_proven:
            await self._store.prove()
            self._is_proven = True
        if not await self._is_anything_due():
            return False
        await ready()
        self._token = token = random_id("lease")
        began_s = time.monotonic()
        async with self._database.transaction() as connection:
            leased = await receipts.lease_due(connection, token=token, limit=len(self._presses))
        pairs = zip(leased, self._presses, strict=False)
        makings = (_Making(self._database, self._store, token, began_s).make(*pair) for pair in pairs)
        ends = await asyncio.gather(*makings, return_exceptions=True)
        self._token = None
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return bool(leased)

    async def _is_anything_due(self) -> bool:
        async with self._database.reading() as connection:
            return await receipts.is_anything_due(connection)

    async def _count(self) -> None:
        if time.monotonic() - self._counted_at_s < COUNTED_EVERY_S:
            return
        self._counted_at_s = time.monotonic()
        async with self._database.reading() as connection:
            waiting, oldest_s = await receipts.count_waiting(connection)
        RECEIPTS_WAITING.set(waiting)
        RECEIPTS_OLDEST_SECONDS.set(oldest_s)


class _Making:
    """One receipt under one lease, which began by our clock at `began_s`."""

    def __init__(self, database: Database, store: ReceiptStore, token: str, began_s: float) -> None:
        self._database, self._store, self._token, self._began_s = database, store, token, began_s

    async def make(self, wanted: ReceiptRow, drawing: Press) -> None:
        """It is stored, or put off. Raises `StoreUnavailable` and what storage raises."""
        try:
            content = await self._draw(wanted, drawing)
            await self._store_it(wanted, content)
        except (NotDrawn, NothingToShow, NotOurs, TooLong) as error:
            await self._not_drawn(wanted, error)
        except StoreUnavailable as error:
            by_s = back_off_s(BACK_OFF_S, failures=wanted.tries)
            await self._put_off(wanted, by_s=by_s, why=error.message)
            raise

    async def _draw(self, wanted: ReceiptRow, drawing: Press) -> bytes:
        try:
            async with self._database.reading() as connection:
                material = await read_material(connection, wanted)
            receipt = material.receipt(wanted)
        except (LookupError, TypeError, ValueError) as error:
            raise NotDrawn(f"Its events cannot be read: {type(error).__name__} {error}") from error
        return await drawing.draw(receipt, wanted.place.form, logo=material.shop.logo)

    async def _store_it(self, wanted: ReceiptRow, content: bytes) -> None:
        """Its hash is in the row before it is put; what the store gives back is looked at."""
        sha256 = hashlib.sha256(content).digest()
        async with self._database.transaction() as connection:
            kept = await receipts.keep_hash(connection, wanted, sha256, token=self._token)
        key = wanted.key_of(sha256)
        if not kept or time.monotonic() - self._began_s > LEASED_FOR.total_seconds() - 2 * STORE_S:
            log.warning("receipt_lease_lost", payment_id=wanted.place.payment_id)
            return
        if await self._is_erased(wanted, sha256):
            return
        await self._store.put_once(key, content, headers=kept_with(wanted.place.form), within_s=STORE_S)
        found = await self._store.get(key, within_s=STORE_S)
        if found is None:
            raise StoreUnavailable(f"the object store: it took {key}, and does not have it")
        there = hashlib.sha256(found).digest()
        if there != sha256:
            raise NotOurs(f"{key} holds what was never put there, with the SHA-256 {there.hex()}.")
        if not await self._is_erased(wanted, sha256):
            await self._is_stored(wanted, sha256, length=len(found))

    async def _is_erased(self, wanted: ReceiptRow, sha256: bytes) -> bool:
        """Whether it says what was erased, maybe before it was asked for; then neither store nor queue has it."""
        if wanted.place.erased:
            return False
        async with self._database.transaction() as connection:
            if not await receipts.is_erased(connection, wanted.place.payment_id):
                return False
        for each in {*wanted.hashes, sha256}:
            await self._store.delete(wanted.key_of(each))
        async with self._database.transaction() as connection:
            await receipts.forget(connection, wanted)
        return True

    async def _is_stored(self, wanted: ReceiptRow, sha256: bytes, *, length: int) -> None:
        async with self._database.transaction() as connection:
            stands = await receipts.stored(connection, wanted, sha256, length=length, token=self._token)
        if stands:
            RECEIPTS.labels(wanted.place.form, "stored").inc()
            key = wanted.key_of(sha256)
            log.info("receipt_stored", payment_id=wanted.place.payment_id, key=key, bytes=length)

    async def _put_off(self, wanted: ReceiptRow, *, by_s: float, why: str) -> None:
        RECEIPTS.labels(wanted.place.form, "not_stored").inc()
        async with self._database.transaction() as connection:
            await receipts.put_off(connection, wanted, by_s=by_s, why=why, token=self._token)

    async def _not_drawn(self, wanted: ReceiptRow, error: PaymentError) -> None:
        """It is tried again later, or given up."""
        by_s = back_off_s(NOT_DRAWN_S, failures=wanted.not_drawn)
        RECEIPTS.labels(wanted.place.form, "not_drawn").inc()
        log.error(
            error.code, payment_id=wanted.place.payment_id, why=error.message, tries=wanted.not_drawn + 1
        )
        async with self._database.transaction() as connection:
            said: dict[str, Any] = {"by_s": by_s, "why": error.message, "token": self._token}
            given_up = await receipts.not_drawn(connection, wanted, **said)
        if given_up:
            RECEIPTS.labels(wanted.place.form, "given_up").inc()
            log.error("receipt_given_up", payment_id=wanted.place.payment_id, why=error.message)


def _say(error: Exception, *, retry_in_s: float) -> None:
    """What passes by itself is a warning; another error is for somebody to mend."""
    if isinstance(error, PaymentError):
        known = isinstance(error, StorageUnavailable | CommitUnknown)
        event = "renderer_storage_unavailable" if known else "renderer_waits"
        log.warning(event, error=error.message, retry_in_s=retry_in_s)
    else:
        log.error("renderer_broken", error=type(error).__name__, retry_in_s=retry_in_s)
