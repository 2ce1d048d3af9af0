"""Our marks of captures in an intent's metadata: by its own each capture is found.

A capture writes a mark under a name of its own, so that none overwrites another's. Where the names run out (Stripe
takes 50, and 50 captures), the marks that are there by then move together under a few.
Source: docs.stripe.com/api/metadata and /payments/multicapture. Read, not tried.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from payonce.connectors.stripe.objects import CAPTURE

NAMES_MAX: Final = 50  # of an object's metadata, at Stripe
NAME_LENGTH_MAX: Final = 40
VALUE_LENGTH_MAX: Final = 500
AMOUNT_LENGTH_MAX: Final = 16
PACK: Final = CAPTURE + "pack_"  # with a number: many marks, `digest=amount digest=amount`
_PACKED: Final = 9  # 24 digits, `=`, an amount of 16 and a space each


def name(reference: str) -> str:
    """The name of a capture's mark; a reference of ours is too long for one."""
    return CAPTURE + _digest(reference)


def amount(metadata: Mapping[str, str], reference: str) -> int | None:
    """How much the capture took, by its mark; None: it has none."""
    text = metadata.get(name(reference)) or _packed(metadata).get(_digest(reference), "")
    return int(text) if _is_amount(text) else None


def made_room(metadata: Mapping[str, str]) -> dict[str, str]:
    """What is to change with a capture so that its mark has a name; an empty text takes the name away."""
    if len(metadata) < NAMES_MAX:
        return {}
    single = [each for each, text in metadata.items() if each.startswith(CAPTURE) and _is_amount(text)]
    moved = _packed(metadata) | {each.removeprefix(CAPTURE): metadata[each] for each in single}
    marks = [f"{digest}={taken}" for digest, taken in moved.items()]
    packs = [" ".join(marks[at : at + _PACKED]) for at in range(0, len(marks), _PACKED)]
    return dict.fromkeys(single, "") | {f"{PACK}{number}": pack for number, pack in enumerate(packs)}


def _packed(metadata: Mapping[str, str]) -> dict[str, str]:
    packs = sorted((each, text) for each, text in metadata.items() if each.startswith(PACK))
    marks = (mark.partition("=") for _, text in packs for mark in text.split())
    return {digest: taken for digest, _, taken in marks}


def _is_amount(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= AMOUNT_LENGTH_MAX


def _digest(reference: str) -> str:
    return hashlib.sha256(reference.encode()).hexdigest()[: NAME_LENGTH_MAX - len(CAPTURE)]
