"""What a receiver says to a delivery, read as leniently as it can be: nothing but its status decides.

A status counts as soon as it is read, whatever follows: header fields that no standard knows, a length that is
wrong, a body that breaks off. The rest is read for those who look into a failed delivery, and so that a receiver
that still writes is not cut off.
"""

from typing import Final

import httptools

BODY_BYTES_KEPT: Final = 4 * 1024

_SWITCHING_PROTOCOLS: Final = 101  # the only 1xx that nothing follows
_FINAL_MIN: Final = 200
_LENIENCIES: Final = {
    "lenient_headers": True,
    "lenient_chunked_length": True,
    "lenient_keep_alive": True,
    "lenient_transfer_encoding": True,
    "lenient_version": True,
    "lenient_data_after_close": True,
    "lenient_optional_lf_after_cr": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_optional_crlf_after_chunk": True,
    "lenient_spaces_after_chunk_size": True,
}


class ReceiverAnswer:
    """An answer as far as it came. `ended`: nothing more of it is to be read."""

    def __init__(self) -> None:
        self.status: int | None = None  # the final one
        self.retry_after: str | None = None
        self.body = b""  # its beginning
        self.ended = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)

    def take(self, data: bytes) -> None:
        """These bytes came next; none: the receiver closed the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserInvalidStatusError:  # `2000`, of which the parser knows `200`
            self.ended = True
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._note_status()
            self.ended = True
        else:
            self._note_status()
            self.ended = self.ended or not data

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for interim answers and trailers too."""
        if not self.ended and self.retry_after is None and name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        if not self.ended:
            self.body += data[: BODY_BYTES_KEPT - len(self.body)]

    def on_message_complete(self) -> None:
        """Called by the parser, after each interim answer too."""
        self._note_status()
        self.ended = self.status is not None

    def _note_status(self) -> None:
        """The status that was read first and is not an interim one stays."""
        status = self._parser.get_status_code()
        if (
            self.status is None
            and not self.ended
            and (status >= _FINAL_MIN or status == _SWITCHING_PROTOCOLS)
        ):
            self.status = status
