"""`payonce listen` as a process of its own, against the API on a socket."""

import asyncio
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack.parts import CHECKOUT
from devstack.processes import Command
from payonce.cli.following import Message
from payonce.cli.listen import Forwarder
from payonce.runtime import Runtime
from payonce.webhooks.signing import new_secret
from tests.api.conftest import Merchant, Serving
from tests.api.recorded import AUTHORIZED, CAPTURED, shop_of
from tests.support.forks import Forked
from tests.webhooks.receiver import bytes_then_close, receiving, status

WITHIN_S = 60.0


@dataclass
class Listening:
    process: Forked
    lines: list[str]

    async def says(self, text: str) -> str:
        """The next line with this text in it."""
        async with asyncio.timeout(WITHIN_S):
            while line := (await self.process.line()).decode().rstrip():
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"it ended with {self.lines}")

    async def end(self) -> tuple[int | None, str]:
        """The exit status and the last words after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            out, _ = await self.process.communicate()
        return self.process.returncode, (out or b"").decode()


@asynccontextmanager
async def listening(directory: Path, *arguments: str) -> AsyncIterator[Listening]:
    """The command runs in the directory while the block does."""
    command = Command(
        (sys.executable, "-m", "payonce", "listen", *arguments), {"PYTHONPATH": str(CHECKOUT)}, directory
    )
    process = await Forked.start(command, None, capture=True)
    try:
        yield Listening(process, [])
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


def told(serving: Serving, merchant: Merchant, url: str, *more: str) -> tuple[str, ...]:
    return ("--forward-to", url, "--api-url", serving.url, "--api-key", merchant.key, *more)


async def test_events_arrive_signed_with_the_local_secret_in_their_own_bytes(
    serving: Serving, merchant: Merchant, runtime: Runtime, tmp_path: Path
) -> None:
    async with (
        receiving(answers=[status(500)]) as receiver,
        listening(tmp_path, *told(serving, merchant, receiver.url)) as command,
    ):
        secret = (await command.says("whsec_")).split()[-1]
        await command.says("Connected")
        shop = shop_of(runtime, merchant)
        payment_id = await shop.record(AUTHORIZED, CAPTURED)
        first, second = await receiver.has(2)
        assert receiver.ids == [await shop.event_id(payment_id, 1), await shop.event_id(payment_id, 2)]
        assert first.verified(secret)["data"] == {"id": payment_id, "note": "₹10.99"}
        assert second.verified(secret)["sequence"] == 2
        assert " 500 (" in await command.says(await shop.event_id(payment_id, 1))
        assert " 204 (" in await command.says(await shop.event_id(payment_id, 2))
        assert await command.end() == (0, "Ended\n")


async def test_a_status_counts_whatever_follows_as_with_deliveries() -> None:
    cut = bytes_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    async with receiving(otherwise=cut) as receiver, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        forwarder = Forwarder(client, receiver.url, new_secret())
        said = await forwarder.forward(Message("evt_1", CAPTURED, b"{}"))

    assert said.startswith("200 (")


async def test_the_secret_stays_and_only_its_owner_reads_it(
    serving: Serving, merchant: Merchant, tmp_path: Path
) -> None:
    secrets = []
    for _ in range(2):
        async with listening(tmp_path, *told(serving, merchant, "localhost:1")) as command:
            secrets.append((await command.says("whsec_")).split()[-1])
    assert secrets[0] == secrets[1]
    file = tmp_path / ".payonce" / "listen_secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == secrets[0]


async def test_only_the_asked_for_types_are_forwarded_and_a_deaf_receiver_is_survived(
    serving: Serving, merchant: Merchant, runtime: Runtime, tmp_path: Path
) -> None:
    arguments = told(serving, merchant, "http://127.0.0.1:1/", "--events", f"{CAPTURED}, refund.succeeded")
    async with listening(tmp_path, *arguments) as command:
        await command.says("Connected")
        shop = shop_of(runtime, merchant)
        payment_id = await shop.record(AUTHORIZED, CAPTURED)
        assert "ConnectError" in await command.says(await shop.event_id(payment_id, 2))
        unwanted = await shop.event_id(payment_id, 1)
        assert not any(unwanted in line for line in command.lines)
        assert (await command.end())[0] == 0


async def test_a_wrong_key_is_one_line_and_exit_status_1(serving: Serving, tmp_path: Path) -> None:
    arguments = ("--forward-to", "localhost:1", "--api-url", serving.url, "--api-key", "sk_test_" + "0" * 48)
    async with listening(tmp_path, *arguments) as command:
        line = await command.says("payonce: ")
        assert "401, unauthenticated" in line
        assert await command.process.wait() == 1


async def test_without_an_api_it_says_what_to_do(tmp_path: Path) -> None:
    async with listening(tmp_path, "--forward-to", "localhost:1") as command:
        assert "PAYONCE_API_KEY" in await command.says("payonce: ")
        assert await command.process.wait() == 1


async def test_a_live_key_is_refused(serving: Serving, merchant: Merchant, tmp_path: Path) -> None:
    arguments = ("--forward-to", "localhost:1", "--api-url", serving.url, "--api-key", merchant.live_key)
    async with listening(tmp_path, *arguments) as command:
        assert "sk_test_" in await command.says("payonce: ")
        assert await command.process.wait() == 1
