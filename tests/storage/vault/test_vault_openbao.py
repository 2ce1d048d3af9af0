"""The vault's keys in a real OpenBao: at work, rotated, stopped, slow and sealed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.parts import CHECKOUT
from payonce.storage.driver.database import Database
from payonce.vault import doors, rotation, transit
from payonce.vault.envelope import VaultPlace, seal, unseal
from payonce.vault.keys import CannotOpen, VaultUnavailable, Wrapped
from payonce.vault.transit import FAILURES_MAX, TransitKeys
from tests.storage.vault.saving import NUMBER, OTHER_NUMBER, a_vault, opened, ran, read, saved
from tests.support.openbao import OpenBao, running_openbao

PLACE = VaultPlace("vc_1", "mer_1", "test", "card")


@pytest.fixture(scope="module")
async def shared_bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    """For tests that leave it as it was."""
    async with running_openbao(tmp_path_factory.mktemp("openbao")) as bao:
        yield bao


@pytest.fixture
async def bao(tmp_path: Path) -> AsyncIterator[OpenBao]:
    """For tests that break it."""
    async with running_openbao(tmp_path) as bao:
        yield bao


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the deadline is not what is tried, a slow machine has its time."""
    monkeypatch.setattr(transit, "CALL_S", 20.0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def keys(shared_bao: OpenBao, patient: None) -> AsyncIterator[TransitKeys]:
    keys = shared_bao.keys()
    yield keys
    await keys.close()


async def test_a_number_opens_in_its_place_and_nowhere_else(keys: TransitKeys) -> None:
    envelope = await seal(NUMBER, PLACE, keys)

    assert envelope.wrapped.key_id == f"payonce:v{(await keys.newest()).rpartition('v')[2]}"
    assert await unseal(envelope, PLACE, keys) == NUMBER
    for elsewhere in (replace(PLACE, record_id="vc_2"), replace(PLACE, merchant_id="mer_2")):
        with pytest.raises(CannotOpen):
            await unseal(envelope, elsewhere, keys)


@pytest.mark.parametrize("data", [b"", b"vault:v1:", b"vault:v1:AAAA", b"vault:v9:AAAA", b"no wrapped key"])
async def test_what_is_no_wrapped_key_does_not_open(keys: TransitKeys, data: bytes) -> None:
    key_id = "payonce:v9" if b"v9" in data else "payonce:v1"

    with pytest.raises(CannotOpen):
        await keys.unwrap(Wrapped(key_id, data), record_id="vc_1")


async def test_a_rotated_key_opens_what_it_wrapped_and_rotation_ends_with_the_newest(
    bao: OpenBao, database: Database, patient: None
) -> None:
    keys = bao.keys()
    vault = a_vault(keys)
    cards = [(await saved(database, vault, number))[0] for number in (NUMBER, OTHER_NUMBER)]
    await bao.rotate()
    told: list[rotation.Rotated] = []

    state = await rotation.rotate(database, keys, tell=told.append)

    assert (state.newest, state.by_newest, state.by_others, state.rewrapped) == ("payonce:v2", 2, {}, 2)
    assert told[-1].rewrapped == 2
    assert [await read(database, vault, card) for card in cards] == [NUMBER, OTHER_NUMBER]
    (
        await bao.client.post("transit/keys/payonce/config", json={"min_decryption_version": 2})
    ).raise_for_status()
    assert await read(database, vault, cards[0]) == NUMBER  # the old version is not needed
    await keys.close()


async def test_a_version_that_may_not_open_any_more_leaves_its_cards_counted(
    bao: OpenBao, database: Database, patient: None
) -> None:
    keys = bao.keys()
    card, _ = await saved(database, a_vault(keys))
    await bao.rotate()
    (
        await bao.client.post("transit/keys/payonce/config", json={"min_decryption_version": 2})
    ).raise_for_status()

    state = await rotation.rotate(database, keys, tell=lambda _: None)

    assert (state.by_others, state.refused, state.rewrapped) == ({"payonce:v1": 1}, 1, 0)
    with pytest.raises(CannotOpen):
        await read(database, a_vault(keys), card)
    await keys.close()


async def test_a_stopped_server_is_unavailable_and_left_alone_after_some_failures(bao: OpenBao) -> None:
    keys = bao.keys()
    await bao.stop()

    for _ in range(FAILURES_MAX):
        with pytest.raises(VaultUnavailable, match="does not answer"):
            await seal(NUMBER, PLACE, keys)
    with pytest.raises(VaultUnavailable, match="left alone"):
        await seal(NUMBER, PLACE, keys)
    await keys.close()


async def test_a_server_that_hangs_is_given_up_and_then_not_waited_for(bao: OpenBao) -> None:
    keys = bao.keys()
    bao.pause()
    try:
        for _ in range(FAILURES_MAX):
            with pytest.raises(VaultUnavailable, match="does not answer"):
                await keys.newest()
        with pytest.raises(VaultUnavailable, match="left alone"):
            await keys.newest()
    finally:
        bao.resume()
    await keys.close()


async def test_a_sealed_server_is_unavailable_and_changes_nothing(
    bao: OpenBao, database: Database, patient: None
) -> None:
    keys = bao.keys()
    card, _ = await saved(database, a_vault(keys))
    await bao.seal()

    with pytest.raises(VaultUnavailable):
        await read(database, a_vault(keys), card)
    with pytest.raises(VaultUnavailable):
        await saved(database, a_vault(keys), OTHER_NUMBER)
    with pytest.raises(VaultUnavailable):
        await rotation.rotate(database, keys, tell=lambda _: None)
    assert await ran(database, "SELECT FROM vault.cards") == 1
    await keys.close()


async def test_a_wrong_token_is_refused_and_a_renewed_one_is_read(bao: OpenBao, patient: None) -> None:
    keys = bao.keys()
    right = bao.token_file.read_text()
    bao.token_file.write_text("another")
    with pytest.raises(VaultUnavailable, match="refuses"):
        await seal(NUMBER, PLACE, keys)
    bao.token_file.write_text(right)

    assert await unseal(await seal(NUMBER, PLACE, keys), PLACE, keys) == NUMBER
    await keys.close()


async def test_wrapping_ends_before_the_transaction_begins(
    bao: OpenBao, database: Database, patient: None
) -> None:
    """With the server gone after `seal`, the put still works: it asks nobody."""
    keys = bao.keys()
    card = await a_vault(keys).seal(NUMBER, merchant_id="mer_1", mode="test")
    await bao.stop()

    async with database.transaction() as connection:
        assert await a_vault(keys).put(connection, card)
        assert await doors.keep(connection, card.place)
    await keys.close()


async def test_the_policy_that_we_ship_is_enough_and_lets_nobody_rotate(bao: OpenBao, patient: None) -> None:
    policy = (CHECKOUT / "deploy/vault/payonce.hcl").read_text()
    await bao.client.put("sys/policies/acl/payonce", json={"policy": policy})
    made = await bao.client.post("auth/token/create-orphan", json={"policies": ["payonce"], "period": "24h"})
    token = made.json()["auth"]["client_token"]
    bao.token_file.write_text(token)
    keys = bao.keys()

    assert await unseal(await seal(NUMBER, PLACE, keys), PLACE, keys) == NUMBER
    assert await keys.newest() == "payonce:v1"
    for path in ("transit/keys/payonce/rotate", "transit/export/encryption-key/payonce", "sys/seal"):
        refused = await bao.client.post(path, headers={"X-Vault-Token": token})
        assert refused.status_code in (403, 405), path
    await keys.close()
