"""Bodies that are kept, packed: each on its own, by deflate with a dictionary of what all of them say.

A body as it is begins with a character of JSON; a packed one with the number of its dictionary, whose file is never
changed: another one has another number and another file. Both are read, whatever a process writes.
"""

import hashlib
import zlib
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from payonce.domain.errors import PaymentError

_FIRST: Final = b"\x01"
_NUMBERS: Final = frozenset(bytes([number]) for number in range(1, 9))  # no JSON begins with one
_DIGEST: Final = "0bd40e18d676c25df4438e6cdd62ae19018279b773b22e42e369de664061775f"
_WINDOW: Final = (
    -13
)  # of 8 KB, the dictionary's and more; raw: no header, and Postgres has checksums of its own
_LEVEL, _MEMORY = 6, 6


class CannotUnpack(PaymentError):
    """What is stored is no body that this release can read."""

    code = "cannot_unpack"


def _read() -> bytes:
    words = Path(__file__).with_name("bodies-1.txt").read_bytes()
    if hashlib.sha256(words).hexdigest() != _DIGEST:
        raise RuntimeError("bodies-1.txt is not the dictionary with which bodies were packed")
    return words


_DICTIONARY: Final = _read()
# Copied for each body: giving the dictionary to a new one takes several times as long as packing.
_PACKER: Final = zlib.compressobj(
    _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY
)
_UNPACKER: Final = zlib.decompressobj(_WINDOW, _DICTIONARY)


def pack(body: bytes) -> bytes:
    """What is stored for the body: packed, or as it is where that is not longer."""
    packer = _PACKER.copy()
    packed = _FIRST + packer.compress(body) + packer.flush()
    return packed if len(packed) < len(body) or body[:1] in _NUMBERS else body


def unpack(stored: bytes) -> bytes:
    """The body, byte for byte. Raises `CannotUnpack`."""
    number = stored[:1]
    if number not in _NUMBERS:
        return stored
    if number != _FIRST:
        raise CannotUnpack(f"a body is packed with the dictionary {number[0]}, of a later release")
    unpacker = _UNPACKER.copy()
    try:
        body = unpacker.decompress(memoryview(stored)[1:])
    except zlib.error as error:
        raise CannotUnpack from error
    if not unpacker.eof or unpacker.unused_data:
        raise CannotUnpack
    return body


class StoredBody(TypeDecorator[bytes]):
    """A column of bodies: what SQLAlchemy reads of it is unpacked, and what it writes is written as it is given."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else unpack(bytes(value))
