"""A request's body as bytes, and those as strict JSON: nothing that two readers could understand differently.

Source: RFC 8259, restricted as by I-JSON (RFC 7493 §2): UTF-8, no duplicate members, no lone surrogates.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.requests import Request

from api.problems import JSON, Mistake, Problem, pointer_of

# What the limits of the members allow: in UTF-8, or escaped as `\uXXXX` (emoji, which take two of them, apart).
BODY_BYTES_MAX = 256 * 1024
BODY_WAIT_S = 5.0  # from the head to the body's last byte
LENGTH_DIGITS_MAX = 20  # of a Content-Length: 2^64
SILENCE_S = 0.25  # a round trip between continents; spent only where no length is given, as by `curl -X POST`
DEPTH_MAX = 16  # of nested arrays and objects; no request of ours needs more than 3
VALUES_MAX = 1_000  # members and items; no request of ours needs more than 150
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)  # to its end, or to that of the text
_BRACKET = re.compile(r"[{}\[\]]")
_UTF8 = frozenset({"utf-8", "utf8"})


async def read_body(request: Request) -> bytes | None:
    """The bytes of a body that is declared to be JSON; None: there is no body, whatever its media type.

    Raises `Problem`: `unsupported_media_type`, `body_too_large` or `invalid_request`.
    """
    if "content-encoding" in request.headers:
        raise Problem("unsupported_media_type", "A body with a Content-Encoding is not accepted.")
    if announced_length(request) == 0:
        await listen(request)
        await read_bytes(request)
        return None
    raw = await read_bytes(request)
    if raw:
        _check_media_type(request.headers.getlist("content-type"))
    return raw


def members_of(raw: bytes) -> dict[str, Any]:
    """The body's members, `null` ones left out. Raises `Problem`: `invalid_json` or `invalid_request`."""
    members = parse(raw)
    if not isinstance(members, dict):
        raise Problem(
            "invalid_request", "The body is a JSON object.", mistakes=[Mistake("", "must be an object")]
        )
    return members


def parse(raw: bytes) -> Any:
    """The JSON value, without members that are `null`. Raises `Problem`."""
    try:
        text = raw.decode("utf-8")
        _check_shape(text)
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse_constant)
        if "\\u" in text:  # only an escape can bring in what the decoder would have refused
            _check_text(value)
    except (ValueError, RecursionError):
        raise Problem("invalid_json", "The body is not JSON in UTF-8 without duplicate members.") from None
    return value


def _check_media_type(values: list[str]) -> None:
    """Raises `Problem` unless the body is declared to be JSON in UTF-8."""
    if not values:
        raise Problem("unsupported_media_type", f"The body needs the Content-Type {JSON}.")
    media_type, *parameters = (part.strip().lower() for part in values[0].split(";"))
    charsets = [
        value.strip('"') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"
    ]
    if len(values) > 1 or media_type != JSON or not _UTF8.issuperset(charsets):
        raise Problem("unsupported_media_type", f"The Content-Type is {JSON}, in UTF-8.")


def announced_length(request: Request) -> int | None:
    """How long the body is said to be, 0 where nothing is said; None: chunks tell it. Raises `Problem`."""
    if "transfer-encoding" in request.headers:
        return None
    length = request.headers.get("content-length", "0").strip()
    if not length.isdecimal() or len(length) > LENGTH_DIGITS_MAX:
        raise Problem("invalid_request", "The Content-Length is not a number.")
    return int(length)


async def listen(request: Request) -> None:
    """Behind a head that says nothing of a body none has come, or the server has withdrawn the request.

    A client that forgets the Content-Length often sends the body in a segment of its own. Taken at once, its
    request would mean "all" before the server sees that something else was meant. This narrows that, it proves
    nothing: a body that comes later still is refused, after the answer.
    """
    if "content-length" not in request.headers:
        await asyncio.sleep(SILENCE_S)


async def read_bytes(request: Request, *, most: int = BODY_BYTES_MAX) -> bytes:
    """The whole body, counted as it arrives: a chunked one has no Content-Length to look at.

    Raises `Problem`, also where another length was announced: whatever lost a part, it is not the body.
    """
    announced = announced_length(request)
    if announced is not None and announced > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_WAIT_S:g} s."
        raise Problem("request_timeout", detail, headers={"Connection": "close"}) from None
    if announced is not None and len(body) != announced:
        raise Problem("invalid_request", "The body has not the length that was announced.")
    return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem("body_too_large", f"A body has at most {most} bytes.")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One object; `null` is the same as absent. Raises `ValueError` for a duplicate member."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return {name: value for name, value in pairs if value is not None}


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _check_shape(text: str) -> None:
    """Raises `ValueError` for nesting deeper than `DEPTH_MAX`, and `Problem` for more than `VALUES_MAX` values.

    Looked at before any parser recurses or makes an object of each: 256 KiB of `{}` took 42 ms of the event loop.
    """
    outside = _STRING.sub("", text)
    depth = 0
    for seen, bracket in enumerate(_BRACKET.finditer(outside)):
        depth += 1 if bracket[0] in "{[" else -1
        if depth > DEPTH_MAX:
            raise ValueError("nested too deeply")
        if seen >= 2 * VALUES_MAX:
            raise _too_many()
    if outside.count(",") >= VALUES_MAX:
        raise _too_many()


def _too_many() -> Problem:
    detail = f"must have at most {VALUES_MAX} members and items"
    return Problem("invalid_request", f"The body {detail}.", mistakes=[Mistake("", detail)])


def _check_text(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Raises `ValueError` for a lone surrogate, and `Problem` for NUL, which Postgres cannot store."""
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError, for a lone surrogate
        if "\0" in value:
            mistake = Mistake(pointer_of(path), "must not hold the character NUL")
            raise Problem("invalid_request", "The body holds the character NUL.", mistakes=[mistake])
    elif isinstance(value, Mapping):
        for name, member in value.items():
            _check_text(name, path)
            _check_text(member, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_text(item, (*path, index))
