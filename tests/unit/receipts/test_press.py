"""The process that draws: what it may use, and what becomes of a receipt that needs more."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from payonce.receipts.child import MEMORY_MAX
from payonce.receipts.press import DRAWN_WITHIN_S, NotDrawn, Press
from payonce.receipts.view import MOVEMENTS_MAX, Letterhead, receipt_of
from tests.unit.receipts.receipts_seen import paid_and_refunded, payment, refund, told

LETTERS = (0x61, 0x627, 0x915, 0x4E00)  # the first of Latin's, Arabic's, Devanagari's and some of China's


@pytest.fixture
async def press() -> AsyncIterator[Press]:
    opened = Press(within_s=60)
    yield opened
    await opened.close()


async def test_one_process_draws_one_receipt_after_another(press: Press) -> None:
    first = await press.draw(paid_and_refunded(), "pdf", logo=None)
    pid = press.pid
    assert first == await press.draw(paid_and_refunded(), "pdf", logo=None)
    assert (await press.draw(paid_and_refunded(), "html", logo=None)).startswith(b"<!doctype html>")
    assert press.pid == pid


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}" * 500, "क्षि\u0335" * 125, "م" * 500, "W" * 500])
async def test_as_much_as_a_merchant_can_store_is_drawn_within_its_memory_and_time(
    press: Press, text: str
) -> None:
    refunds = [refund(1, id=f"re_{number:025d}", reason=text) for number in range(MOVEMENTS_MAX)]
    told_ = told(payment(1099, description=text, customer={"name": text}), *refunds)
    receipt = receipt_of(told_, Letterhead(text, "\n".join([text] * 6)), mode="live")
    content = await press.draw(receipt, "pdf", logo=None)
    assert content.startswith(b"%PDF")
    assert press.pid is not None
    user, system = Path(f"/proc/{press.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") < DRAWN_WITHIN_S


async def test_however_many_large_ones_were_drawn_there_is_memory_for_the_next(press: Press) -> None:
    for each in range(10):
        reasons = [
            "".join(chr(first + (each + number * 7 + place) % 25) for place in range(7) for first in LETTERS)
            for number in range(MOVEMENTS_MAX)
        ]
        refunds = [refund(1, id=f"re_{number:025d}", reason=reason) for number, reason in enumerate(reasons)]
        receipt = receipt_of(told(payment(1099), *refunds), Letterhead(reasons[0]), mode="live")
        assert (await press.draw(receipt, "pdf", logo=None)).startswith(b"%PDF")


async def test_it_has_bounded_memory_no_settings_and_can_write_no_file(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", "secret")
    await press.draw(paid_and_refunded(), "html", logo=None)
    assert press.pid is not None
    assert resource.prlimit(press.pid, resource.RLIMIT_AS) == (MEMORY_MAX, MEMORY_MAX)
    assert resource.prlimit(press.pid, resource.RLIMIT_FSIZE) == (0, 0)
    environment = Path(f"/proc/{press.pid}/environ").read_bytes()
    assert b"PAYONCE_" not in environment
    assert b"AWS_" not in environment
    assert os.getpriority(os.PRIO_PROCESS, press.pid) > os.getpriority(os.PRIO_PROCESS, 0)


async def test_what_takes_too_long_is_ended_and_the_next_is_drawn(press: Press) -> None:
    await press.draw(paid_and_refunded(), "html", logo=None)
    stopped = press.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    press._within_s = 0.2
    with pytest.raises(NotDrawn, match=r"more than 0\.2 s"):
        await press.draw(paid_and_refunded(), "html", logo=None)
    assert not Path(f"/proc/{stopped}").exists()
    press._within_s = 60
    assert await press.draw(paid_and_refunded(), "html", logo=None)


async def test_a_process_that_dies_is_another_one_next_time(press: Press) -> None:
    await press.draw(paid_and_refunded(), "html", logo=None)
    assert press.pid is not None
    os.kill(press.pid, signal.SIGKILL)
    with pytest.raises(NotDrawn):
        await press.draw(paid_and_refunded(), "html", logo=None)
    assert await press.draw(paid_and_refunded(), "html", logo=None)


async def test_a_logo_that_is_none_is_said_and_the_process_stays(press: Press) -> None:
    with pytest.raises(NotDrawn):
        await press.draw(paid_and_refunded(), "pdf", logo=b"no picture")
    pid = press.pid
    assert await press.draw(paid_and_refunded(), "pdf", logo=None)
    assert press.pid == pid


async def test_a_cancelled_drawing_leaves_no_process(press: Press) -> None:
    await press.draw(paid_and_refunded(), "html", logo=None)
    pid = press.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    drawing = asyncio.create_task(press.draw(paid_and_refunded(), "html", logo=None))
    await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert not Path(f"/proc/{pid}").exists() or press.pid == pid
