"""The marks of captures in an intent's metadata, which holds 50: none is lost, and every capture has room."""

import pytest

from payonce.connectors.stripe import marks

AMOUNTS = [1, 99_999_999_999, 10**16 - 1]


def merged(metadata: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """As Stripe does: an empty text takes the name away."""
    return {name: text for name, text in (metadata | changes).items() if text}


@pytest.mark.parametrize("theirs", [0, 38])
@pytest.mark.parametrize("amount", AMOUNTS)
def test_fifty_captures_fit_beside_what_merchants_have(theirs: int, amount: int) -> None:
    held = {f"theirs_{number}": "x" for number in range(theirs)} | {
        "payonce_reference": "r",
        "payonce_payment": "p",
    }
    references = [f"op_01j{number}-1" for number in range(50)]
    for number, reference in enumerate(references):
        held = merged(held, {**marks.made_room(held), marks.name(reference): str(amount)})
        assert len(held) <= marks.NAMES_MAX
        assert all(len(text) <= marks.VALUE_LENGTH_MAX for text in held.values())
        assert all(len(name) <= marks.NAME_LENGTH_MAX for name in held)
        for known in references[: number + 1]:
            assert marks.amount(held, known) == amount
    assert sum(name.startswith("theirs_") for name in held) == theirs
    assert marks.amount(held, "op_another-1") is None


def test_while_there_is_room_nothing_moves() -> None:
    """As it was before marks could move, so that those are read as well."""
    held = {f"m_{number}": "x" for number in range(48)} | {marks.name("op_1-1"): "500"}
    assert marks.made_room(held) == {}
    assert marks.amount(held, "op_1-1") == 500


def test_what_others_filled_is_left_as_it_is() -> None:
    assert marks.made_room({f"m_{number}": "x" for number in range(50)}) == {}


@pytest.mark.parametrize("text", ["x", "=", "=5", " ", "=".join("abc")])
def test_a_pack_that_somebody_changed_proves_nothing(text: str) -> None:
    assert marks.amount({f"{marks.PACK}0": text}, "op_1-1") is None
