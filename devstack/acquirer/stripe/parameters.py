"""Which parameters an endpoint knows, and what they must be. What it does not know is refused.

Source: spec, the request schemas (names, required ones, lists of values); error-codes: `parameter_unknown`,
`parameter_missing`, `parameter_invalid_empty`, `parameter_invalid_integer`; api/metadata (50 keys of at most 40
characters, values of at most 500). Bounds on an amount: spec, `amount`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from devstack.acquirer.stripe.errors import Json, Refusal, invalid

Check = Callable[[Any, str], Any]
Known = Mapping[str, Check]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
METADATA_KEYS_MAX = 50
METADATA_KEY_MAX = 40
METADATA_VALUE_MAX = 500


def checked(given: Json, known: Known, *, required: tuple[str, ...] = (), inside: str = "") -> Json:
    """The parameters as values. Raises `Refusal`; where several are wrong, unknown ones come first."""
    unknown = [_inner(inside, name) for name in given if name not in known]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        message = f"Received unknown parameter{plural}: {', '.join(name[:100] for name in unknown[:10])}"
        raise invalid(message, code="parameter_unknown", param=unknown[0][:100])
    for name in required:
        if name not in given:
            param = _inner(inside, name)
            raise invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)
    return {name: known[name](value, _inner(inside, name)) for name, value in given.items()}


def text_up_to(length: int) -> Check:
    """A text of so many characters at most. Source: spec, `maxLength`."""

    def check(value: Any, param: str) -> str:
        found = text(value, param)
        if len(found) > length:
            raise invalid(f"Invalid string: {param} must be at most {length} characters.", param=param)
        return found

    return check


def text(value: Any, param: str) -> str:
    """Not empty, and no hash."""
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {param} must be a string.", param=param)
    if not value:
        raise invalid(
            f"You passed an empty string for '{param}'.", code="parameter_invalid_empty", param=param
        )
    if len(value) > 5000:
        raise invalid(f"Invalid string: {param} is too long.", param=param)
    return value


def integer(value: Any, param: str) -> int:
    """Digits, perhaps after a minus."""
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        message = f"Invalid integer: {param} must be an integer."
        raise invalid(message, code="parameter_invalid_integer", param=param)
    return int(value)


def positive(value: Any, param: str) -> int:
    """An integer above zero."""
    number = integer(value, param)
    if number < 1:
        message = "This value must be greater than or equal to 1."
        raise invalid(message, code="parameter_invalid_integer", param=param)
    return number


def boolean(value: Any, param: str) -> bool:
    """`true` or `false`, as the SDKs write them."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {param} must be true or false.", param=param)
    return bool(value == "true")


def one_of(*values: str) -> Check:
    """A list of values."""

    def check(value: Any, param: str) -> str:
        if value not in values:
            raise invalid(f"Invalid {param}: must be one of {', '.join(values)}.", param=param)
        return str(value)

    return check


def either(first: Check, second: Check) -> Check:
    """The one, or else the other."""

    def check(value: Any, param: str) -> Any:
        try:
            return first(value, param)
        except Refusal:
            return second(value, param)

    return check


def listed(each: Check) -> Check:
    """A list."""

    def check(value: Any, param: str) -> list[Any]:
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {param} must be a list.", param=param)
        return [each(item, f"{param}[{place}]") for place, item in enumerate(value)]

    return check


def hashed(known: Known, *, required: tuple[str, ...] = ()) -> Check:
    """A hash with members of its own."""

    def check(value: Any, param: str) -> Json:
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {param} must be a hash.", param=param)
        return checked(value, known, required=required, inside=param)

    return check


def metadata(value: Any, param: str) -> dict[str, str]:
    """Names and texts; an empty text unsets the name, an empty `metadata` all: that is `{"": ""}` here."""
    if value == "":
        return {"": ""}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise invalid(f"Invalid object: {param} must be a hash of strings.", param=param)
    if len(value) > METADATA_KEYS_MAX:
        raise invalid(f"Metadata can have up to {METADATA_KEYS_MAX} keys.", param=param)
    for name, each in value.items():
        if len(name) > METADATA_KEY_MAX or len(each) > METADATA_VALUE_MAX:
            raise invalid("Metadata keys can be up to 40 characters and values up to 500.", param=param)
    return dict(value)


def merged(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Metadata after an update. Source: spec, `metadata`: an empty value unsets."""
    if given == {"": ""}:
        return {}
    return {name: value for name, value in {**before, **given}.items() if value != ""}


def anything(value: Any, _: str) -> Any:
    """Known to Stripe; nothing in the sandbox comes of it."""
    return value


def passive(*names: str) -> dict[str, Check]:
    """Parameters that Stripe knows and of which nothing comes here."""
    return dict.fromkeys(names, anything)


def _inner(inside: str, name: str) -> str:
    return f"{inside}[{name}]" if inside else name
