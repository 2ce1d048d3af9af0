"""Draws receipts in a process of its own, which is ended when one takes too long: it shares nothing with this one."""

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from payonce.domain.errors import PaymentError
from payonce.receipts.child import LENGTH, REQUEST_BYTES_MAX
from payonce.receipts.view import Receipt

Form = Literal["html", "pdf"]
DRAWN_WITHIN_S: Final = 10.0
DRAWN_BY_ONE_MAX: Final = 500  # receipts; then another process takes over
# So it does above this: typst remembers the last ten, a large one takes up to 90 MiB (measured), and MEMORY_MAX would
# end it over a receipt that is as small as any.
MEMORY_WORN: Final = 144 * 1024 * 1024
RECEIPT_BYTES_MAX: Final = 8 * 1024 * 1024
_KEPT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")


class NotDrawn(PaymentError):
    """The receipt could not be drawn."""

    code = "receipt_not_drawn"


class Press:
    """One process, started when there is something to draw; one receipt at a time."""

    def __init__(self, *, within_s: float = DRAWN_WITHIN_S) -> None:
        self._within_s = within_s
        self._child: asyncio.subprocess.Process | None = None
        self._drawn = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # an empty one, where the process is

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    async def draw(self, receipt: Receipt, form: Form, *, logo: bytes | None) -> bytes:
        """The receipt's bytes. Raises `NotDrawn`, at the latest after `DRAWN_WITHIN_S`."""
        asked = {
            "form": form,
            "receipt": json.loads(receipt.as_json()),
            "logo": base64.b64encode(logo or b"").decode(),
        }
        request = json.dumps(asked).encode()
        if len(request) > REQUEST_BYTES_MAX:
            raise NotDrawn("There is too much to draw.")
        try:
            async with asyncio.timeout(self._within_s):
                return await self._exchange(request)
        except TimeoutError:
            await self._end()
            raise NotDrawn(f"It took more than {self._within_s:g} s.") from None
        except (EOFError, OSError) as error:
            await self._end()
            raise NotDrawn("Its process ended: it may have needed too much memory.") from error
        except asyncio.CancelledError:
            await self._end()
            raise

    async def close(self) -> None:
        """No process is left."""
        await self._end()
        if self._folder is not None:
            self._folder.cleanup()

    async def _exchange(self, request: bytes) -> bytes:
        child = await self._started()
        assert child.stdin is not None, "it has one"
        assert child.stdout is not None, "it has one"
        child.stdin.write(LENGTH.pack(len(request)) + request)
        await child.stdin.drain()
        sign = await child.stdout.readexactly(1)
        (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
        if length > RECEIPT_BYTES_MAX:
            raise EOFError
        content = await child.stdout.readexactly(length)
        self._drawn += 1
        if sign != b"+":
            raise NotDrawn(content.decode("utf-8", "replace"))
        return content

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is not None and (self._drawn >= DRAWN_BY_ONE_MAX or _is_worn(self._child)):
            await self._end()
        if self._child is None:
            self._drawn = 0
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="payonce-receipts-")
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "payonce.receipts.child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=self._folder.name,
                env=_environment(),
            )
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _is_worn(child: asyncio.subprocess.Process) -> bool:
    """Whether it has ended, or has too little memory left. Source: proc_pid_statm(5), total program size in pages."""
    if child.returncode is not None:
        return True
    try:
        pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[0])
    except OSError:
        return True
    return pages * os.sysconf("SC_PAGE_SIZE") > MEMORY_WORN


def _environment() -> dict[str, str]:
    """Where Python finds its modules, and no more threads than one: each takes of the memory that it may have."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    one = {"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **one}


@asynccontextmanager
async def opened(count: int) -> AsyncIterator[tuple[Press, ...]]:
    """So many presses, while the block runs."""
    presses = tuple(Press() for _ in range(count))
    try:
        yield presses
    finally:
        for press in presses:
            await press.close()
