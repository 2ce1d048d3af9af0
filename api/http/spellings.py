"""What a client may mean by the text of a look-up: nothing is missed because of how it was spelled.

Whoever asks whether a payment exists, and hears "no", pays again. So every reading is looked for in its turn, the
likeliest first; what can be no spelling of anything is refused in words.
"""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from api.http import key_header
from api.problems import Problem

REFERENCE_MAX_LENGTH = 100
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)


def keys_meant(value: str) -> list[str]:
    """The idempotency keys that may be meant, the likeliest first: read as the header is, and as it is."""
    readings = [text.strip() for text in _decoded(value)]
    return _each(
        key
        for text in readings
        for key in (_as_in_the_header(text), text, _unquoted(text))
        if key_header.is_key(key)
    )


def references_meant(value: str) -> list[str]:
    """The references that may be meant, the text itself first."""
    decoded = _decoded(value)
    bare = [reading for text in decoded for reading in (text, text.strip(), _unquoted(text.strip()))]
    forms = [*bare, *(unicodedata.normalize(form, text) for text in bare for form in ("NFC", "NFD"))]
    return _each(text for text in forms if len(text) <= REFERENCE_MAX_LENGTH)


def id_meant(value: str) -> str:
    """The id: ours are in lower case, without spaces or quotes."""
    return _unquoted(value.strip()).strip().lower()


def _decoded(value: str) -> list[str]:
    """As it was decoded; with the plus signs that became spaces; and where it was encoded twice."""
    return [value, value.replace(" ", "+"), unquote(value)]


def _as_in_the_header(text: str) -> str:
    try:
        return key_header.key_in(text) or ""
    except Problem:
        return ""


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text)
    return found[2] if found else text


def _each(texts: Iterable[str]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(texts))
