"""Which members an endpoint knows, and what they must be. What it does not know is refused.

Source: api/refunds/create-normal, "Errors" (an extra field is not required and should not be sent); s2s/test-s2s/
error-index (`extra_field_sent`, `input_validation_failed`); api/understand (`notes`: 15 pairs of 256 characters;
`count` is 10 by default); api/orders/fetch-all (`count` is 100 at most).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from devstack.acquirer.razorpay.errors import Json, invalid

Check = Callable[[Any, str], Any]
Known = Mapping[str, Check]

NOTES_MAX = 15
NOTE_LENGTH_MAX = 256
COUNT_DEFAULT, COUNT_MAX = 10, 100
AMOUNT_MAX = 2**53 - 1


def checked(given: Json, known: Known, *, required: tuple[str, ...] = (), inside: str = "") -> Json:
    """The members as values. Raises `Refusal`."""
    unknown = [_inner(inside, name)[:100] for name in given if name not in known]
    if unknown:
        description = f"{', '.join(unknown[:10])} is/are not required and should not be sent"
        raise invalid(description, field=unknown[0], reason="extra_field_sent")
    for name in required:
        if given.get(name) in (None, ""):
            field = _inner(inside, name)
            raise invalid(f"The {field.replace('_', ' ')} field is required.", field=field)
    return {
        name: known[name](value, _inner(inside, name)) for name, value in given.items() if value is not None
    }


def integer(value: Any, field: str) -> int:
    """A whole number, as JSON has it. Source: api/payments/capture: "The amount must be an integer."."""
    if isinstance(value, bool) or not isinstance(value, int) or not -AMOUNT_MAX <= value <= AMOUNT_MAX:
        raise invalid(f"The {field} must be an integer.", field=field)
    return value


def digits(value: Any, field: str) -> int:
    """A whole number, or its digits: in queries, and as the sample of api/refunds/create-normal sends it."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    return integer(value, field)


def text(value: Any, field: str) -> str:
    """A text of at most 2,048 characters, which are a sandbox's bound, not Razorpay's."""
    found: str = text_up_to(2048)(value, field)
    return found


def text_up_to(length: int) -> Check:
    """A text of so many characters at most."""

    def check(value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise invalid(f"The {field} must be a string.", field=field)
        if len(value) > length:
            raise invalid(f"The {field} may not be greater than {length} characters.", field=field)
        return value

    return check


def text_or_integer(value: Any, field: str) -> str:
    """Source: s2s/payment-methods writes a card's date and code as numbers, s2s/json/v2/…/cards as texts."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    found: str = text(value, field)
    return found


def boolean(value: Any, field: str) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise invalid(f"The {field} must be a boolean.", field=field)
    return value


def one_of(*values: str) -> Check:
    """A list of values."""

    def check(value: Any, field: str) -> str:
        if value not in values:
            raise invalid(f"The selected {field} is invalid.", field=field)
        return str(value)

    return check


def hashed(known: Known, *, required: tuple[str, ...] = ()) -> Check:
    """An object with members of its own."""

    def check(value: Any, field: str) -> Json:
        if not isinstance(value, dict):
            raise invalid(f"The {field} must be an object.", field=field)
        return checked(value, known, required=required, inside=field)

    return check


def notes(value: Any, field: str) -> Json:
    """Pairs; an empty list is none, as Razorpay itself writes it."""
    if value == []:
        return {}
    if not isinstance(value, dict):
        raise invalid("The notes must be an object.", field=field)
    if len(value) > NOTES_MAX:
        raise invalid(f"Number of fields in notes should be less than or equal to {NOTES_MAX}", field=field)
    for name, each in value.items():
        if not isinstance(each, str | int | float) or max(len(name), len(str(each))) > NOTE_LENGTH_MAX:
            raise invalid("The notes have a key or a value that is too long, or no text.", field=field)
    return dict(value)


def shown_notes(given: Json) -> Json | list[Any]:
    """Source: every sample answer without notes has an empty list."""
    return given or []


def anything(value: Any, _: str) -> Any:
    """Known to Razorpay; nothing in the sandbox comes of it."""
    return value


def passive(*names: str) -> dict[str, Check]:
    """Members that Razorpay knows and of which nothing comes here."""
    return dict.fromkeys(names, anything)


PAGED: dict[str, Check] = {"from": digits, "to": digits, "count": digits, "skip": digits}


def window(query: Json, *, default: int = COUNT_DEFAULT) -> tuple[int, int]:
    """`count` and `skip`. Raises `Refusal`."""
    count, skip = query.get("count", default), query.get("skip", 0)
    if not 1 <= count <= COUNT_MAX:
        raise invalid(f"The count must be between 1 and {COUNT_MAX}.", field="count")
    return count, skip


def _inner(inside: str, name: str) -> str:
    return f"{inside}.{name}" if inside else name
