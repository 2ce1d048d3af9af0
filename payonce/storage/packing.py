"""Bodies that are kept, packed: each on its own, by deflate with a dictionary of what all of them say.

A body as it is begins with a character of JSON; a packed one with the number of its form, whose dictionary is a file
that is never changed: another one has another number and another file. All are read, whatever a process writes.

Form 1 stands alone. Form 2 is an event's: what its row says beside the body is left out of it, a control character
in each place, which JSON has none of. So it is unpacked with those columns only, by `body_of` or `unpack_event`.

A payment's card is packed as a list of what it says, in the same column of JSON.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Dialect, LargeBinary, RowMapping
from sqlalchemy.types import TypeDecorator

from payonce.domain.answers import timestamp
from payonce.domain.errors import PaymentError

PACKED_BELOW: Final = 9  # what begins with a lower byte is packed: no JSON begins with one
_NUMBERS: Final = frozenset(bytes([number]) for number in range(1, PACKED_BELOW))
_PLACES: Final = tuple(bytes([number]) for number in range(1, 6))  # each for a word of `_said`, in its order
_CARD: Final = ("brand", "last4", "exp_month", "exp_year")
_WINDOW: Final = (
    -13
)  # of 8 KB, the dictionary's and more; raw: no header, and Postgres has checksums of its own
_LEVEL, _MEMORY = 6, 6


class CannotUnpack(PaymentError):
    """What is stored is no body that this release can read."""

    code = "cannot_unpack"


class _Form:
    """One way to pack; its packer is copied for each body.

    Giving the dictionary to a new one takes several times as long as packing.
    """

    def __init__(self, number: int, digest: str) -> None:
        words = _read(f"bodies-{number}.txt", digest)
        self.mark = bytes([number])
        self._packer = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, words
        )
        self._unpacker = zlib.decompressobj(_WINDOW, words)

    def pack(self, said: bytes) -> bytes:
        packer = self._packer.copy()
        return self.mark + packer.compress(said) + packer.flush()

    def unpack(self, stored: bytes) -> bytes:
        """Raises `CannotUnpack`."""
        unpacker = self._unpacker.copy()
        try:
            said = unpacker.decompress(memoryview(stored)[1:])
        except zlib.error as error:
            raise CannotUnpack from error
        if not unpacker.eof or unpacker.unused_data:
            raise CannotUnpack
        return said


def _read(name: str, digest: str) -> bytes:
    words = Path(__file__).with_name(name).read_bytes()
    if hashlib.sha256(words).hexdigest() != digest:
        raise RuntimeError(f"{name} is not the dictionary with which bodies were packed")
    return words


_ALONE: Final = _Form(1, "0bd40e18d676c25df4438e6cdd62ae19018279b773b22e42e369de664061775f")
_IN_ROW: Final = _Form(2, "1a0113da61f4d85bf3a888f2d9d1bcf9ec3f411c32baaf14552a8a4003703ef1")


def pack(body: bytes) -> bytes:
    """What is stored for the body: packed, or as it is where that is not longer."""
    packed = _ALONE.pack(body)
    return packed if len(packed) < len(body) or body[:1] in _NUMBERS else body


def unpack(stored: bytes) -> bytes:
    """The body of what stands alone, byte for byte. Raises `CannotUnpack`."""
    number = stored[:1]
    if number not in _NUMBERS:
        return stored
    if number == _IN_ROW.mark:
        raise CannotUnpack("an event's body is unpacked with its row")
    if number != _ALONE.mark:
        raise CannotUnpack(f"a body is packed in the form {number[0]}, of a later release")
    return _ALONE.unpack(stored)


def pack_event(body: bytes, *, id_: str, payment_id: str | None, created_at: datetime) -> bytes:
    """What is stored for the body in the event's row with these columns."""
    if any(place in body for place in _PLACES):
        return pack(body)
    said = body
    for place, word in _said(id_, payment_id, created_at):
        said = said.replace(word, place)
    packed = _IN_ROW.pack(said)
    return packed if len(packed) < len(body) else pack(body)


def unpack_event(stored: bytes, *, id_: str, payment_id: str | None, created_at: datetime) -> bytes:
    """The body, byte for byte, of the event whose row has these columns. Raises `CannotUnpack`."""
    if stored[:1] != _IN_ROW.mark:
        return unpack(stored)
    body = _IN_ROW.unpack(stored)
    for place, word in reversed(_said(id_, payment_id, created_at)):
        body = body.replace(place, word)
    return body


def _said(id_: str, payment_id: str | None, created_at: datetime) -> list[tuple[bytes, bytes]]:
    """What the row says, each behind its place: the time also to its second and to its minute, as others begin.

    Each step of leaving out is undone exactly: no body that has a place of its own is packed so.
    """
    at = timestamp(created_at).encode()
    words = (id_.encode(), (payment_id or "").encode(), at, at[: -len("000Z")], at[: -len("00.000Z")])
    return [(place, word) for place, word in zip(_PLACES, words, strict=True) if word]


@dataclass(frozen=True, slots=True)
class Unread:
    """What an event's row has as its body, which is none before `body_of` has read the row."""

    stored: bytes = field(repr=False)


class StoredBody(TypeDecorator[Unread]):
    """The column of events' bodies: SQLAlchemy reads a `Unread` of it, and writes bytes as they are given."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Unread | None:
        return None if value is None else Unread(bytes(value))


def body_of(row: Mapping[str, Any] | RowMapping) -> bytes:
    """The body of an event's row, read through its table or by a text of SQL. Raises `CannotUnpack`, `KeyError`."""
    kept = row["body"]
    return unpack_event(
        kept.stored if isinstance(kept, Unread) else bytes(kept),
        id_=row["id"],
        payment_id=row["payment_id"],
        created_at=row["created_at"],
    )


def pack_method(method: Mapping[str, Any]) -> Mapping[str, Any] | list[Any]:
    """What is stored for a payment's method: of a card that says just this, in this order, no name of a member."""
    card = method.get("card")
    if tuple(method) != ("type", "card") or method["type"] != "card" or not isinstance(card, Mapping):
        return method
    return ["card", *card.values()] if tuple(card) == _CARD else method


def unpack_method(stored: Any) -> Mapping[str, Any]:
    """The method, member by member. Raises `CannotUnpack`."""
    match stored:
        case ["card", *said] if len(said) == len(_CARD):
            return {"type": "card", "card": dict(zip(_CARD, said, strict=True))}
        case dict():
            return stored
        case _:
            raise CannotUnpack("a payment's method is packed in a form of a later release")
