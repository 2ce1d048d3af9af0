"""The pools of one role of Postgres's: who writes, who only reads, and who browses never wait for each other."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from payonce.storage.driver.pool import Pool, Pooled
from payonce.storage.driver.wire import Wire


class Pools:
    """At most `size` connections that write, half as many that only read, a quarter as many for lists."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        options: dict[str, Any],
        of_api: bool = False,
        on_open: Callable[[Pooled], Awaitable[None]],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",  # transactions begin and end in `Connection`
            connect_args=options,
        )
        self._on_open, self._on_lost, self._of_api = on_open, on_lost, of_api
        self.writers = self.another(size)
        self.readers = self.another(max(2, size // 2), reads_only=True)
        self.browsers = self.another(max(2, size // 4), reads_only=True)

    def another(self, size: int, *, reads_only: bool = False) -> Pool:
        """A pool of the same role's."""
        return Pool(
            self._engine,
            size=size,
            reads_only=reads_only,
            of_api=self._of_api,
            on_open=self._on_open,
            on_lost=self._on_lost,
        )

    @property
    def all(self) -> tuple[Pool, ...]:
        return (self.writers, self.readers, self.browsers)

    def are_stuck(self, *, but_for: Collection[Wire]) -> bool:
        """Whether all connections of one kind are lost; those on which COMMIT waits, `but_for` these, are not."""
        reads = self.readers.is_stuck() or self.browsers.is_stuck()
        return reads or self.writers.is_stuck(but_for=but_for)
