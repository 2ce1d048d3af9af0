"""A sealed card number opens in its own place only, with its own keys."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from payonce.sealing import SealingKey
from payonce.settings import SettingsWrong
from payonce.vault.envelope import FORMAT, SealedNumber, VaultPlace, seal, unseal
from payonce.vault.fingerprints import Fingerprints
from payonce.vault.keys import CannotOpen, FileKeys, Wrapped, read_key_file

NUMBER = "4242424242424242"
KEYS = FileKeys({"new": b"n" * 32, "old": b"o" * 32})
PLACE = VaultPlace("vc_1", "mer_1", "test", "card")


async def test_a_sealed_number_opens_in_its_place() -> None:
    envelope = await seal(NUMBER, PLACE, KEYS)

    assert NUMBER.encode() not in envelope.ciphertext
    assert envelope.wrapped.key_id == "new"
    assert await unseal(envelope, PLACE, KEYS) == NUMBER


async def test_a_number_sealed_twice_looks_different_everywhere() -> None:
    first, second = [await seal(NUMBER, PLACE, KEYS) for _ in range(2)]

    assert first.ciphertext != second.ciphertext
    assert first.data_key_id != second.data_key_id
    assert first.wrapped.data != second.wrapped.data


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, record_id="vc_2"),
        replace(PLACE, merchant_id="mer_2"),
        replace(PLACE, mode="live"),
        replace(PLACE, purpose="token"),
        replace(PLACE, merchant_id="mer_1test", mode=""),
    ],
    ids=str,
)
async def test_a_number_moved_to_another_place_does_not_open(elsewhere: VaultPlace) -> None:
    envelope = await seal(NUMBER, PLACE, KEYS)

    with pytest.raises(CannotOpen):
        await unseal(envelope, elsewhere, KEYS)


async def test_the_ciphertext_of_another_row_does_not_open_with_this_rows_key() -> None:
    mine, other = [await seal(number, PLACE, KEYS) for number in (NUMBER, "4000000000000002")]

    for swapped in (
        replace(mine, ciphertext=other.ciphertext),
        replace(mine, wrapped=other.wrapped),
        replace(mine, ciphertext=other.ciphertext, wrapped=other.wrapped),  # its data key has another id
    ):
        with pytest.raises(CannotOpen):
            await unseal(swapped, PLACE, KEYS)


async def test_a_moved_number_does_not_open_even_with_its_data_key() -> None:
    """The wrapped key is bound to its record; so is the ciphertext, whoever wraps its key anew."""
    place = replace(PLACE, record_id="vc_2")
    envelope = await seal(NUMBER, PLACE, KEYS)
    data_key = await KEYS.unwrap(envelope.wrapped, record_id=PLACE.record_id)
    moved = replace(envelope, wrapped=await KEYS.wrap(data_key, record_id=place.record_id))

    with pytest.raises(CannotOpen):
        await unseal(moved, place, KEYS)


async def test_a_wrapped_key_names_the_key_that_wrapped_it() -> None:
    wrapped = await KEYS.wrap(b"d" * 32, record_id="vc_1")

    with pytest.raises(CannotOpen):
        await KEYS.unwrap(replace(wrapped, key_id="old"), record_id="vc_1")
    with pytest.raises(CannotOpen):
        await KEYS.unwrap(replace(wrapped, key_id="gone"), record_id="vc_1")


@pytest.mark.parametrize("changed", [b"", b"short", b"x" * 60])
async def test_what_was_changed_does_not_open(changed: bytes) -> None:
    envelope = await seal(NUMBER, PLACE, KEYS)

    for wrong in (
        replace(envelope, ciphertext=changed),
        replace(envelope, wrapped=Wrapped("new", changed)),
        replace(envelope, format=FORMAT + 1),
    ):
        with pytest.raises(CannotOpen):
            await unseal(wrong, PLACE, KEYS)


async def test_nothing_of_an_envelope_is_in_its_text() -> None:
    envelope = await seal(NUMBER, PLACE, KEYS)

    assert "ciphertext" not in repr(envelope)
    assert "data=" not in repr(envelope.wrapped)
    assert isinstance(envelope, SealedNumber)


def a_key_file(directory: Path, keys: object, *, mode: int = 0o600) -> Path:
    path = directory / "keys.json"
    path.write_text(keys if isinstance(keys, str) else json.dumps(keys))
    path.chmod(mode)
    return path


def a_key(id_: str, key: bytes = b"k" * 32) -> dict[str, str]:
    return {"id": id_, "key": base64.b64encode(key).decode()}


async def test_the_first_key_of_a_file_wraps_and_every_one_opens(tmp_path: Path) -> None:
    before = read_key_file(a_key_file(tmp_path, {"keys": [a_key("one")]}))
    wrapped = await before.wrap(b"d" * 32, record_id="vc_1")
    after = read_key_file(a_key_file(tmp_path, {"keys": [a_key("two", b"2" * 32), a_key("one")]}))

    assert await after.newest() == "two"
    assert await after.unwrap(wrapped, record_id="vc_1") == b"d" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsWrong, match="chmod 600"):
        read_key_file(a_key_file(tmp_path, {"keys": [a_key("one")]}, mode=mode))


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        {"keys": []},
        {"keys": [a_key("short", b"k")]},
        {"keys": [a_key("a name with blanks")]},
        {"keys": [a_key("twice"), a_key("twice", b"l" * 32)]},
        {"keys": [{"id": "one", "key": "no base64 !"}]},
        {"keys": [a_key(f"k{number}") for number in range(33)]},
        {"keys": [a_key("one")], "more": "x" * 70_000},
    ],
    ids=lambda wrong: str(wrong)[:30],
)
def test_a_key_file_that_is_none_is_refused_and_shows_nothing_of_a_key(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(SettingsWrong) as refused:
        read_key_file(a_key_file(tmp_path, wrong))

    assert base64.b64encode(b"k" * 32).decode()[:8] not in str(refused.value)
    assert refused.value.__cause__ is None


def test_hashes_differ_by_merchant_mode_and_key_and_the_internal_one_is_no_merchants() -> None:
    keys = [SealingKey("new", b"n" * 32), SealingKey("old", b"o" * 32)]
    prints = Fingerprints(keys)
    of_one = prints.of(NUMBER, merchant_id="mer_1", mode="test")
    others = [
        prints.of(NUMBER, merchant_id="mer_2", mode="test"),
        prints.of(NUMBER, merchant_id="mer_1", mode="live"),
        Fingerprints(keys[::-1]).of("4000000000000002", merchant_id="mer_1", mode="test"),
    ]

    assert of_one.versions == ("new", "old")
    hashes = [
        *of_one.of_merchant,
        of_one.internal,
        *(hash_ for other in others for hash_ in other.of_merchant),
    ]
    assert len(set(hashes)) == len(hashes)
    assert others[0].internal == of_one.internal
    assert (
        Fingerprints(keys[1:]).of(NUMBER, merchant_id="mer_1", mode="test").of_merchant[0]
        == of_one.of_merchant[1]
    )
