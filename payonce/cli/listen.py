"""`payonce listen`: brings a merchant's events to a receiver on the developer's machine."""

import asyncio
import base64
import os
import signal
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from payonce.cli.api import ApiKey, ApiUrl, api_client, web_url
from payonce.cli.base import STATE_DIRECTORY, CommandRefused
from payonce.cli.following import TIMEOUT, Message, StreamFollower
from payonce.counted import RECEIVED_BYTES_MAX
from payonce.webhooks.attempt import DEADLINE_S
from payonce.webhooks.signing import SECRET_BYTES, SECRET_PREFIX, new_secret, signed_headers

QUEUE_MAX: Final = 100  # read and not forwarded yet; then the stream is read no further
SECRET_FILE: Final = STATE_DIRECTORY / "listen_secret"


def listen(
    forward_to: Annotated[
        str, typer.Option(help="Where to POST every event, such as http://localhost:4242/hooks.")
    ],
    events: Annotated[str, typer.Option(help="Only these types, with commas between them.")] = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Forward events as they come, signed with a secret of this directory, until Ctrl-C."""
    target = web_url(forward_to)
    types = tuple(filter(None, (type_.strip() for type_ in events.split(","))))
    client = api_client(api_url, api_key, timeout=TIMEOUT)
    secret = local_secret(SECRET_FILE)
    _say(f"Signing with {secret}")
    _say(f"Forwarding to {target}; Ctrl-C ends this")
    asyncio.run(_until_stopped(client, types, target=target, secret=secret))


def local_secret(path: Path) -> str:
    """The secret in the file, made when there was none; only its owner can read it. Raises `CommandRefused`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_secret() + "\n")
    except FileExistsError:
        pass
    secret = path.read_text(errors="replace").strip()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) != SECRET_BYTES:
        raise CommandRefused(f"{path} does not hold a secret; remove it, and a new one is made")
    return secret


@dataclass(frozen=True, slots=True)
class Forwarder:
    """POSTs events to one URL as an endpoint gets them. A failed one is not sent again."""

    client: httpx.AsyncClient
    target: str
    secret: str

    async def forward(self, message: Message) -> str:
        """The status of the answer, or what went wrong, with the time that it took. Never raises.

        As with deliveries, a status counts, whatever follows it.
        """
        began, statuses, failure = time.monotonic(), list[int](), ""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._post(message, statuses)
        except TimeoutError:
            failure = "timed_out"
        except httpx.HTTPError as error:
            failure = type(error).__name__
        result = str(statuses[0]) if statuses else failure
        return f"{result} ({(time.monotonic() - began) * 1_000:.0f} ms)"

    async def _post(self, message: Message, statuses: list[int]) -> None:
        """Adds the answer's status, once it is known."""
        at = datetime.now(UTC)
        signed = signed_headers(event_id=message.id, at=at, body=message.data, signing_secrets=(self.secret,))
        headers = {**signed, "Content-Type": "application/json", "User-Agent": "payonce-webhooks"}
        async with self.client.stream("POST", self.target, content=message.data, headers=headers) as answer:
            statuses.append(answer.status_code)
            read = 0
            async for chunk in answer.aiter_raw():
                read += len(chunk)
                if read >= RECEIVED_BYTES_MAX:
                    break


async def _until_stopped(
    client: httpx.AsyncClient, types: tuple[str, ...], *, target: str, secret: str
) -> None:
    """Events were forwarded until SIGINT or SIGTERM. Raises `CommandRefused` for a wrong key or filter."""
    forwarding = asyncio.create_task(_forward_all(client, types, target=target, secret=secret))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, forwarding.cancel)
    try:
        await forwarding
    except asyncio.CancelledError:
        _say("Ended")
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _forward_all(
    client: httpx.AsyncClient, types: tuple[str, ...], *, target: str, secret: str
) -> None:
    """Reads and forwards, each at its own pace, in the order of the stream."""
    queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_MAX)
    own_network = httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False, follow_redirects=False)
    async with client, own_network, asyncio.TaskGroup() as tasks:
        tasks.create_task(_read(StreamFollower(client, types, _say), queue))
        tasks.create_task(_forward(Forwarder(own_network, target, secret), queue))


async def _read(follower: StreamFollower, queue: "asyncio.Queue[Message]") -> None:
    async with aclosing(follower.messages()) as messages:
        async for message in messages:
            await queue.put(message)


async def _forward(forwarder: Forwarder, queue: "asyncio.Queue[Message]") -> None:
    while True:
        message = await queue.get()
        result = await forwarder.forward(message)
        _say(f"{datetime.now().astimezone():%H:%M:%S}  {message.type:<28} {message.id}  {result}")


def _say(line: str) -> None:
    """A line, at once even when the output is a pipe."""
    print(line, file=sys.stdout, flush=True)
