"""Cards that nobody kept are erased by the sweeper, some at a time."""

import pytest

from payonce.metrics import VAULT_ERASED
from payonce.vault.saving import NotThere
from tests.storage.ledger import Ledger
from tests.storage.sweeping import sweeper_of
from tests.storage.vault.saving import NUMBER, a_vault, ran, read, saved

PASSED = "UPDATE vault.cards SET erase_at = clock_timestamp() - interval '1 s' WHERE erase_at IS NOT NULL"


async def test_the_sweeper_erases_what_was_not_kept_in_time_and_nothing_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sweeper.CARDS_AT_ONCE", 2)
    vault, sweeper = a_vault(), sweeper_of(ledger, None)
    kept, _ = await saved(ledger.database, vault)
    over = [(await saved(ledger.database, vault, kept=False))[0] for _ in range(3)]
    await ran(ledger.database, PASSED)
    young, _ = await saved(ledger.database, vault, kept=False)
    before = VAULT_ERASED._value.get()

    assert [await sweeper.erase_cards() for _ in range(3)] == [True, False, False]

    assert VAULT_ERASED._value.get() - before == 3
    for card in over:
        with pytest.raises(NotThere):
            await read(ledger.database, vault, card)
    for card in (kept, young):
        assert await read(ledger.database, vault, card) == NUMBER


async def test_numbers_counted_for_the_limit_are_forgotten_after_their_hour_some_at_a_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sweeper.CARDS_AT_ONCE", 1)
    for n in range(12):
        await saved(ledger.database, a_vault(), f"{4242424242420000 + n}")
    await ran(ledger.database, "UPDATE vault.saves SET saved_at = clock_timestamp() - interval '2 hours'")
    sweeper = sweeper_of(ledger, None)

    await sweeper.erase_cards()
    assert await ran(ledger.database, "SELECT FROM vault.saves") == 2
    await sweeper.erase_cards()
    assert await ran(ledger.database, "SELECT FROM vault.saves") == 0
