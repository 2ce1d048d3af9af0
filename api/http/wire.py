"""A connection's bytes, whose end comes whatever its client does or leaves undone.

A transport that is closed waits until its client has taken everything: a client that reads nothing keeps it for
ever. And one that is closed while its client still sends is reset by the kernel, and the client may never read the
answer (RFC 9112 §9.6). uvicorn 0.54 heeds neither.
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from payonce.metrics import CONNECTIONS_CUT

TAKEN_S = 10.0  # within one to two of these each byte is taken
LINGER_S = 2.0  # for what a client still sends when it has its answer
LINGER_BYTES_MAX = 1024 * 1024


class ClientWire:
    """What uvicorn asks of a transport; `is_sending` tells whether the client is in the middle of something."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_sending: Callable[[], bool]
    ) -> None:
        self._transport, self._loop, self._is_sending = transport, loop, is_sending
        self._closing = False
        self._written = self._due = (
            0  # bytes since the beginning; and how many of them are to be taken by now
        )
        self._taking: TimerHandle | None = None
        self._lingering: TimerHandle | None = None
        self._heard_bytes = 0
        self.get_extra_info: Callable[..., Any] = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def is_closing(self) -> bool:
        """Whether nothing more is said."""
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """The bytes are on their way; where the client does not take them, the connection is cut."""
        if self._closing:
            return
        self._transport.write(data)
        self._written += len(data)
        if self._taking is None:
            self._due = self._written
            self._taking = self._loop.call_later(TAKEN_S, self._look_what_was_taken)

    def close(self) -> None:
        """What was said reaches the client, also one that still sends, and then the connection ends."""
        if self._closing:
            return
        self._closing = True
        if not self._is_sending() or self._transport.is_closing():
            self._transport.close()
            return
        self._lingering = self._loop.call_later(LINGER_S, self._transport.close)
        with suppress(OSError, RuntimeError):  # the client is gone meanwhile
            self._transport.write_eof()
            self._transport.resume_reading()

    def heard(self, size: int) -> None:
        """So many bytes came that nobody reads any more."""
        self._heard_bytes += size
        if self._heard_bytes > LINGER_BYTES_MAX:
            self._transport.close()

    def cut(self) -> None:
        """The connection ends at once."""
        self._closing = True
        self._transport.abort()

    def ended(self) -> None:
        """No timer is left."""
        for timer in (self._taking, self._lingering):
            if timer is not None:
                timer.cancel()

    def _look_what_was_taken(self) -> None:
        """Looks again while there is something; what was due and is still here cuts the connection."""
        self._taking = None
        here = self._transport.get_write_buffer_size()
        if self._written - here < self._due:
            CONNECTIONS_CUT.labels("nothing_taken").inc()
            self.cut()
        elif here:
            self._due = self._written
            self._taking = self._loop.call_later(TAKEN_S, self._look_what_was_taken)
