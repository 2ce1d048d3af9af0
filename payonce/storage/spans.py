"""Which transactions wrote what was made in a span of time: a bound for lists, whatever the clocks said.

Lists go by transaction, and a filter by time alone would make a page read over all that is newer than the span, or
older. A row's time is its process's, so no arithmetic tells the transactions of a span; but each stretch of six hours
in which anything was made has a first transaction and a last one, which an index by stretch and transaction holds.
Nothing of the span is outside of what these say together; a row that a wrong clock put there only widens them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Table, text

from payonce.storage.driver.connection import Connection

# In a function of the owner's: no policy lets the API's role use that index (migration 0024). For each stretch of the
# span in which anything was made there is one look-up for each end that the span has (migration 0049).
_WRITTEN = "SELECT first, last FROM {table}_written_in(:after, :before)"


@dataclass(frozen=True, slots=True)
class Span:
    """From `after` on, and before `before`; None: without end."""

    after: datetime | None = None
    before: datetime | None = None

    @property
    def is_all(self) -> bool:
        return self.after is None and self.before is None


ALL_TIME: Final = Span()


async def written_in(connection: Connection, table: Table, span: Span) -> tuple[int, int] | None:
    """The first and the last transaction of all that wrote what of this table was made in the span.

    Where the span has no end there, the first or the last that there can be. None: nothing was made in it. It holds
    for what had become visible when this was asked.
    """
    query = text(_WRITTEN.format(table=table.name))
    row = (await connection.execute(query, {"after": span.after, "before": span.before})).one()
    return None if row.first is None else (int(row.first), int(row.last))
