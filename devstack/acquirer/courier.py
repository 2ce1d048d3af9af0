"""The one background task: what is due happens, and callbacks leave, are tried again, or are given up."""

import asyncio
import contextlib
import logging
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx

from devstack.acquirer import callbacks
from devstack.acquirer.adyen.objects import NOTIFICATION_PREFIX
from devstack.acquirer.callbacks import SIGNATURE_HEADER, Callback
from devstack.acquirer.desk import Desk
from devstack.acquirer.razorpay import objects as razorpay_objects
from devstack.acquirer.stripe import objects

ANSWER_WITHIN_S = 5
SENDING_MAX = 32  # at once
AFTER_FAILURE = timedelta(seconds=1)

log = logging.getLogger(__name__)


class Courier:
    """Sends the desk's callbacks. What it had not recorded when the process ended is sent again: at least once."""

    def __init__(self, desk: Desk, *, key: str) -> None:
        self._desk = desk
        self._key = key.encode()
        self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False)
        self._sending: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._round = asyncio.Lock()
        self._awoken = asyncio.Event()

    async def run(self) -> None:
        """Works until cancelled; then nothing is under way."""
        try:
            while True:
                self._awoken.clear()
                next_at = await self._looked_after()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._awoken.wait(), _seconds_until(next_at))
        finally:
            tasks = [task for _, task in self._sending.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.aclose()

    def wake(self) -> None:
        """There may be something to do sooner than was known."""
        self._awoken.set()

    async def tried(self, reference: str) -> None:
        """Whatever was due for the reference has been tried once."""
        await self._sent_what_is_due()
        tasks = [task for of, task in self._sending.values() if of == reference]
        if tasks:
            await asyncio.wait(tasks)

    async def _looked_after(self) -> datetime | None:
        """What is due is on its way; when to look again. A file that fails is tried again, not given up."""
        try:
            next_at = await self._sent_what_is_due()
        except sqlite3.Error:
            log.exception("acquirer_file_failed")
            next_at = datetime.now(UTC) + AFTER_FAILURE
        return next_at

    async def _sent_what_is_due(self) -> datetime | None:
        """Every due callback is on its way, up to the limit; when there is something to do next."""
        async with self._round:  # so that nobody starts what another round has just finished
            due, next_at = await self._desk.run(self._desk.due_callbacks, limit=2 * SENDING_MAX)
            for callback in due:
                if callback.position not in self._sending and len(self._sending) < SENDING_MAX:
                    task = asyncio.create_task(self._send(callback))
                    self._sending[callback.position] = (callback.reference, task)
        return next_at

    async def _send(self, callback: Callback) -> None:
        copies = 2 if self._desk.config.callbacks == "duplicate" else 1
        try:
            answers = await asyncio.gather(*(self._post(callback) for _ in range(copies)))
            delivered = all(answer.startswith("2") for answer in answers)
            await self._desk.run(self._desk.callback_tried, callback, answer=answers[-1], delivered=delivered)
        finally:
            del self._sending[callback.position]
            self.wake()

    async def _post(self, callback: Callback) -> str:
        """The status code, or what went wrong, in a word."""
        now = datetime.now(UTC)
        headers = {"Content-Type": "application/json", **await self._signed(callback, now)}
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                response = await self._client.post(callback.url, content=callback.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return type(error).__name__
        return str(response.status_code)

    async def _signed(self, callback: Callback, now: datetime) -> dict[str, str]:
        if callback.own_id.startswith(objects.EVENT_PREFIX):
            return await self._desk.run(self._desk.signed_as_stripe, callback, now)
        if callback.own_id.startswith(razorpay_objects.EVENT_PREFIX):
            return await self._desk.run(self._desk.signed_as_razorpay, callback)
        if callback.own_id.startswith(NOTIFICATION_PREFIX):
            return await self._desk.run(self._desk.headers_of_adyen, callback)
        return {SIGNATURE_HEADER: callbacks.signature(callback.body, key=self._key, now=now)}


def _seconds_until(moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())
