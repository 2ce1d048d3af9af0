"""A copy on another server: what the operations page renumbers is all that is ordered by transactions."""

from pathlib import Path

import pytest

from payonce.storage.tables import metadata

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize("table", [name for name, table in metadata.tables.items() if "xid" in table.c])
def test_every_table_that_is_ordered_by_transactions_is_renumbered(table: str) -> None:
    """Else lists leave its rows out until the new server has come to their transactions."""
    assert f"\nUPDATE {table} SET xid = " in PAGE.read_text()
