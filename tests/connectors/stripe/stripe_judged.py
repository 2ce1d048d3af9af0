"""Stripe's own document as the judge of what the connector sends (`tests/witnesses/stripe_spec.py`)."""

import re
from collections.abc import Iterable
from typing import Any

from tests.connectors.scripted import Sent
from tests.witnesses.stripe_spec import stripe_spec


def of_request(sent: Sent) -> list[str]:
    """What is wrong with a request by Stripe's document. The test is skipped, in words, where there is no Go."""
    given = nested(sent.form if sent.method == "POST" else sent.query)
    return stripe_spec().request(sent.method, sent.path, given)


def nested(members: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A form as what it stands for: `a[b]=c` is an object, `a[]=c` a list."""
    whole: dict[str, Any] = {}
    for name, value in members:
        first, *inner = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        _put(whole, [first, *inner], value)
    return whole


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    name, *rest = path
    if not rest:
        into[name] = value
    elif rest == [""]:
        into.setdefault(name, []).append(value)
    else:
        _put(into.setdefault(name, {}), rest, value)
