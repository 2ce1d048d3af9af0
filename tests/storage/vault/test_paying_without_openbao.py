"""Payments while a real OpenBao is stopped, stands still or is sealed: only who needs its keys waits for it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from activities.messages import NothingSent, Settled
from payonce.domain.operations import AttemptState
from payonce.vault import transit
from payonce.vault.keys import VaultUnavailable
from payonce.vault.transit import TransitKeys
from tests.storage.admitting import NEW, NoTemporal
from tests.storage.ledger import Ledger
from tests.storage.paying_saved import Acquirer, SavingShop, by, saved
from tests.storage.test_paying_saved import APPROVED
from tests.storage.vault.saving import NUMBER, a_vault
from tests.support.openbao import OpenBao, running_openbao

PATIENT_S = 5.0  # where the deadline is not what is tried


@pytest.fixture
async def bao(tmp_path: Path) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path) as bao:
        yield bao


@pytest.fixture
async def keys(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TransitKeys]:
    """Of a process that has not asked yet; a slow machine has its time."""
    monkeypatch.setattr(transit, "CALL_S", PATIENT_S)
    keys = bao.keys()
    yield keys
    await keys.close()


async def stopped(bao: OpenBao) -> None:
    await bao.stop()


async def stands_still(bao: OpenBao) -> None:
    bao.pause()


async def is_sealed(bao: OpenBao) -> None:
    await bao.seal()


@pytest.mark.parametrize("away", [stopped, stands_still, is_sealed])
async def test_raw_cards_go_on_and_what_is_vaulted_waits(
    shared_ledger: Ledger, bao: OpenBao, keys: TransitKeys, away: Callable[[OpenBao], Awaitable[None]]
) -> None:
    with_bao = a_vault(keys)
    card = await saved(shared_ledger, vault=with_bao)
    await away(bao)

    waiting = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), NoTemporal(), vault=with_bao)
    result = await waiting.pay(by(card, personal=NEW.personal))
    assert result.current is not None
    assert json.loads(result.current)["status"] == "processing"
    assert await waiting.run() == NothingSent("not_sent", may_retry=True, patient=True)
    assert (await waiting.latest())[1] is AttemptState.NOT_SENT
    assert waiting.connector.sent == []

    raw = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), vault=with_bao)
    await raw.admitted(NEW)
    assert isinstance(await raw.run(), Settled)

    with pytest.raises(VaultUnavailable):
        await with_bao.seal(NUMBER, merchant_id=shared_ledger.merchant_id, mode="test")


async def test_what_waited_is_sent_once_openbao_answers_again(
    shared_ledger: Ledger, bao: OpenBao, keys: TransitKeys
) -> None:
    with_bao = a_vault(keys)
    card = await saved(shared_ledger, vault=with_bao)
    bao.pause()
    shop = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), NoTemporal(), vault=with_bao)
    await shop.pay(by(card, personal=NEW.personal))
    assert isinstance(await shop.run(), NothingSent)
    bao.resume()
    fresh = bao.keys()  # of another process, whose breaker is closed
    try:
        other = SavingShop(shared_ledger, shop.connector, NoTemporal(), vault=a_vault(fresh), key=shop.key)
        assert isinstance(await other.run(), Settled)
    finally:
        await fresh.close()
    assert [call.card.number for call in shop.connector.sent if call.card is not None] == [NUMBER]
