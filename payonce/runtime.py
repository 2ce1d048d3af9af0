"""Opens and closes everything that a process needs, once."""

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis

from payonce.claims import Rights
from payonce.connectors.base import Capabilities, ConnectorAccount
from payonce.connectors.measured import Calls, Measured
from payonce.connectors.registry import open_connectors
from payonce.domain.ids import IdFactory
from payonce.metrics import accounts_at_zero
from payonce.sealing import Sealer
from payonce.settings import Settings
from payonce.storage.database import Database, check_durability
from payonce.storage.recording import Recorder
from payonce.wakeups import WakeUps

COLLECT_AFTER = 10_000  # objects; Python's own 700 come together several times in each payment
REDIS_TIMEOUT_S = 0.5
REDIS_CONNECTIONS_MAX = 50


@dataclass(frozen=True, slots=True)
class Runtime:
    """The collaborators of one process."""

    settings: Settings
    database: Database
    redis: Redis
    wakeups: WakeUps
    ids: IdFactory
    rights: Rights
    recorder: Recorder
    accounts: tuple[ConnectorAccount, ...]
    connectors: Mapping[str, Measured]  # by account id
    calls: Calls = field(default_factory=Calls)

    @property
    def capabilities(self) -> dict[str, Capabilities]:
        """By account id, in the order of the settings."""
        return {account_id: connector.capabilities for account_id, connector in self.connectors.items()}

    @property
    def sealer(self) -> Sealer:
        """Seals and opens the secrets of webhook endpoints."""
        return Sealer(self.settings.webhook_keys())


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Everything is open while the block runs; recordings under way end before the connections close.

    Raises `StorageUnavailable` when Postgres cannot be reached or could lose a commit.
    """
    database = Database(
        settings.database_url, pool_size=settings.database_pool_size, durability=settings.durability
    )
    redis = Redis.from_url(
        settings.redis_url,
        socket_timeout=None,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        max_connections=REDIS_CONNECTIONS_MAX,
    )
    connectors: Mapping[str, Measured] = {}
    recorder: Recorder | None = None
    try:
        await check_durability(database, live=settings.live, durability=settings.durability)
        ids = IdFactory(settings.secret_for("ids"), cell=settings.cell)
        wakeups = WakeUps(redis)
        recorder = Recorder(database, ids, wakeups)
        accounts = settings.accounts()
        accounts_at_zero({account.id: account.connector for account in accounts})
        calls, opened = Calls(), open_connectors(accounts)
        connectors = {id_: Measured(id_, connector, calls) for id_, connector in opened.items()}
        yield Runtime(
            settings, database, redis, wakeups, ids, Rights(), recorder, accounts, connectors, calls
        )
    finally:
        if recorder is not None:
            await recorder.drain()
        for connector in connectors.values():
            await connector.close()
        await redis.aclose()
        await database.close()


def spare_collector() -> None:
    """What is there after starting lives as long as the process: no collection looks through it again.

    Full collections took 90 ms each, in which nothing else happened (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
