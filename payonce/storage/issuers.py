"""The table of issuers as rows: which one is in force, and its ranges, packed, some thousand in a row.

One row for each range would take every process seconds of its event loop to read.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.issuers import RECORD_BYTES
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import issuer_ranges, issuer_table

PART_BYTES: Final = 10_000 * RECORD_BYTES
_IN_FORCE: Final = 1  # the only row


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Which table is in force: each import has a generation of its own."""

    generation: int
    ranges: int
    imported_at: datetime


async def in_force(connection: Connection) -> Imported | None:
    """None where none was ever imported."""
    columns = (issuer_table.c.generation, issuer_table.c.ranges, issuer_table.c.imported_at)
    row = (await connection.execute(select(*columns))).mappings().one_or_none()
    return None if row is None else Imported(**row)


async def replace_with(connection: Connection, packed: bytes) -> Imported:
    """These ranges are in force, and no others, once the transaction is committed. Safe to repeat.

    An import that runs at the same time comes before or after it, as a whole.
    """
    ranges = len(packed) // RECORD_BYTES
    values = {"id": _IN_FORCE, "generation": 1, "ranges": ranges, "imported_at": func.now()}
    changed = {**values, "generation": issuer_table.c.generation + 1}
    statement = insert(issuer_table).values(values).on_conflict_do_update(index_elements=["id"], set_=changed)
    columns = (issuer_table.c.generation, issuer_table.c.ranges, issuer_table.c.imported_at)
    row = (await connection.execute(statement.returning(*columns))).mappings().one()
    imported = Imported(**row)
    await connection.execute(delete(issuer_ranges))  # the row above is locked by now
    for part, at in enumerate(range(0, len(packed), PART_BYTES)):
        some = {"generation": imported.generation, "part": part, "packed": packed[at : at + PART_BYTES]}
        await connection.execute(insert(issuer_ranges).values(some))
    return imported


async def read(connection: Connection, imported: Imported) -> bytes | None:
    """The ranges of this table; None where another one has replaced it by now."""
    parts = []
    for part in range(-(-imported.ranges * RECORD_BYTES // PART_BYTES)):
        query = select(issuer_ranges.c.packed).where(
            issuer_ranges.c.generation == imported.generation, issuer_ranges.c.part == part
        )
        found = (await connection.execute(query)).scalar_one_or_none()
        if found is None:
            return None
        parts.append(bytes(found))
    return b"".join(parts)
