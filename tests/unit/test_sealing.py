"""Sealed values open under their own name, with their own key, and not otherwise."""

import base64

import pytest
from pydantic import ValidationError

from payonce.sealing import CannotUnseal, Sealed, Sealer, SealingKey
from payonce.settings import Settings

OLD, NEW = SealingKey("old", b"o" * 32), SealingKey("new", b"n" * 32)
ABOUT = ("webhook_secrets", "we_1", "whs_1", "hmac")
BASE = {
    "database_url": "postgresql://x",
    "redis_url": "redis://x",
    "temporal_address": "x:1",
    "derivation_key": "d" * 32,
}


def test_a_sealed_value_opens_again_and_shows_nothing() -> None:
    sealed = Sealer([NEW]).seal("whsec_₹", about=ABOUT)

    assert Sealer([NEW]).unseal(sealed, about=ABOUT) == "whsec_₹"
    assert "whsec_₹".encode() not in sealed.data
    assert str(sealed.data) not in repr(sealed)
    assert sealed != Sealer([NEW]).seal("whsec_₹", about=ABOUT)


@pytest.mark.parametrize("part", range(4))
def test_a_value_that_was_moved_to_another_row_does_not_open(part: int) -> None:
    sealed = Sealer([NEW]).seal("whsec_x", about=ABOUT)
    elsewhere = [*ABOUT[:part], "another", *ABOUT[part + 1 :]]

    with pytest.raises(CannotUnseal):
        Sealer([NEW]).unseal(sealed, about=elsewhere)


def test_parts_that_read_the_same_one_after_the_other_are_not_the_same() -> None:
    sealed = Sealer([NEW]).seal("whsec_x", about=("we_1", "2"))

    with pytest.raises(CannotUnseal):
        Sealer([NEW]).unseal(sealed, about=("we_", "12"))


def test_a_changed_value_does_not_open() -> None:
    sealed = Sealer([NEW]).seal("whsec_x", about=ABOUT)

    for changed in (sealed.data[:-1], sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]), sealed.data[:13], b""):
        with pytest.raises(CannotUnseal):
            Sealer([NEW]).unseal(Sealed("new", changed), about=ABOUT)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    before = Sealer([OLD]).seal("whsec_x", about=ABOUT)
    both = Sealer([NEW, OLD])

    assert both.unseal(before, about=ABOUT) == "whsec_x"
    assert both.seal("whsec_x", about=ABOUT).key_id == "new"
    with pytest.raises(CannotUnseal):
        Sealer([NEW]).unseal(before, about=ABOUT)


def test_without_a_setting_the_key_is_derived() -> None:
    (key,) = Settings(**BASE).webhook_keys()

    assert (key.id, len(key.key)) == ("derived", 32)
    assert key.key not in (Settings(**BASE).secret_for("ids"), b"d" * 32)


def test_set_keys_come_before_the_derived_one_and_show_in_no_repr() -> None:
    value = base64.b64encode(b"k" * 32).decode()
    settings = Settings(**BASE, webhook_sealing_keys=({"id": "2027-01", "key": value},))

    assert [key.id for key in settings.webhook_keys()] == ["2027-01", "derived"]
    assert settings.webhook_keys()[0].key == b"k" * 32
    assert value not in repr(settings)
    assert str(b"k" * 32) not in repr(settings.webhook_keys())


@pytest.mark.parametrize(
    "keys",
    [
        [{"id": "a", "key": "not base64!"}],
        [{"id": "a", "key": base64.b64encode(b"short").decode()}],
        [{"id": "derived", "key": base64.b64encode(b"k" * 32).decode()}],
        [{"id": "a", "key": base64.b64encode(bytes([n]) * 32).decode()} for n in (1, 2)],
    ],
)
def test_a_key_that_cannot_be_one_stops_the_start_and_is_not_shown(keys: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**BASE, webhook_sealing_keys=keys)

    assert not any(key["key"] in str(refused.value) for key in keys)
