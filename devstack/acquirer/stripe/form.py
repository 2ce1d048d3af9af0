"""Form bodies and query strings with brackets: `a[b]=c`, `a[]=c`, `a[0]=c`.

Source: docs.stripe.com/api: requests are form-encoded, answers are JSON; the SDKs write lists with numbers.
"""

import re
from typing import Any
from urllib.parse import parse_qsl

from devstack.acquirer.stripe.errors import Json, invalid

FIELDS_MAX = 500
DEPTH_MAX = 6
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decoded(text: str) -> Json:
    """The members, nested. Values are text; what was a list is a list. Raises `Refusal`."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise invalid("Invalid request: the form could not be read.") from error
    root: Json = {}
    for name, value in pairs:
        _put(root, _path(name), value, name)
    return {name: _lists(member) for name, member in root.items()}


def _path(name: str) -> list[str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise invalid(f"Invalid parameter name: {name[:100]}")
    path = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
    if len(path) > DEPTH_MAX:
        raise invalid("Invalid request: parameters are nested too deeply.")
    return path


def _put(root: Json, path: list[str], value: str, name: str) -> None:
    at: Any = root
    for place in path[:-1]:
        at = at.setdefault(_place(at, place), {})
        if not isinstance(at, dict):
            raise invalid(f"Invalid parameter: {name[:100]} is both a value and a hash.")
    place = _place(at, path[-1])
    if isinstance(at.get(place), dict):
        raise invalid(f"Invalid parameter: {name[:100]} is both a value and a hash.")
    at[place] = value


def _place(at: Json, place: str) -> str:
    """`[]` appends."""
    return place or str(len(at))


def _lists(member: Any) -> Any:
    if not isinstance(member, dict):
        return member
    inner = {name: _lists(value) for name, value in member.items()}
    if inner and all(name.isdecimal() and len(name) < 4 for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
