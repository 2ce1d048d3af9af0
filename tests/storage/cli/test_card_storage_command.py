"""`payonce merchants set --card-storage vault`: refused where the vault would refuse every card."""

from typing import Any

import pytest

from payonce.cli import card_storage
from payonce.cli.base import CommandRefused
from payonce.domain.issuers import IssuerRange, packed
from payonce.domain.payment_methods import CardStorage
from payonce.storage import issuers
from tests.storage.ledger import Ledger, settings_of

LIVE = {"live": True}


async def check(ledger: Ledger, storage: CardStorage | None, **changes: Any) -> None:
    settings = settings_of(ledger).model_copy(update=changes)
    async with ledger.database.transaction() as connection:
        await card_storage.check(connection, storage, settings)


async def test_in_live_mode_the_vault_needs_a_table_of_issuers_that_is_young_enough(ledger: Ledger) -> None:
    with pytest.raises(CommandRefused, match="payonce bins import"):
        await check(ledger, "vault", **LIVE)
    async with ledger.database.transaction() as connection:
        await issuers.replace_with(connection, packed([IssuerRange(424242000, 424242999, "US")]))
    await check(ledger, "vault", **LIVE)
    await ledger.rows("UPDATE issuer_table SET imported_at = now() - interval '46 days'")
    with pytest.raises(CommandRefused, match="45 days"):
        await check(ledger, "vault", **LIVE)


async def test_nothing_else_needs_one(ledger: Ledger) -> None:
    for storage in ("none", "acquirer", None):
        await check(ledger, storage, **LIVE)
    await check(ledger, "vault")


async def test_it_says_where_no_keys_are_named(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    await check(ledger, "vault", vault_transit_url="https://bao.test")
    assert capsys.readouterr().err == ""
    await check(ledger, "vault")
    assert "503" in capsys.readouterr().err
