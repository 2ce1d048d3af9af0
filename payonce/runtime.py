"""Opens and closes everything that a process needs, once."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from sqlalchemy.exc import ArgumentError

from payonce.accounts import Accounts, Source
from payonce.connectors.measured import Calls, Measured
from payonce.connectors.registry import open_connectors
from payonce.domain.claiming import Durability
from payonce.domain.errors import Rejected
from payonce.domain.ids import IdFactory
from payonce.domain.returning import ReturnPages
from payonce.issuers import Issuers
from payonce.live import check_live
from payonce.receipts.store import ReceiptStore, open_store
from payonce.recording.recorder import Recorder
from payonce.rights import Rights
from payonce.risk.asking import Assessor
from payonce.risk.base import RiskProvider
from payonce.risk.counts import VelocityCounts
from payonce.risk.outcomes import RiskOutcomes
from payonce.risk.registry import open_providers
from payonce.risk.rules import RuleBook
from payonce.risk.subjects import SubjectHashes
from payonce.sealing import Sealer
from payonce.settings import Settings, SettingsWrong
from payonce.storage.belonging import check_accounts, check_ids, check_reachable
from payonce.storage.driver.database import Database
from payonce.storage.driver.tenants import Tenants
from payonce.storage.durability import check_durability
from payonce.storage.roles import check_api_role, check_engine_role
from payonce.vault.saving import Vault, open_vault
from payonce.wakeups import WakeUps
from payonce.webhooks.risk import HttpRisk

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
    accounts: Accounts
    calls: Calls = field(default_factory=Calls)
    issuers: Issuers = field(default_factory=Issuers)
    receipts: ReceiptStore | None = None
    risk: Assessor = field(default_factory=lambda: Assessor({}))
    vault: Vault | None = None

    @property
    def risk_subjects(self) -> SubjectHashes:
        """By what payments are counted together."""
        return SubjectHashes(self.settings.fingerprint_keys())

    @property
    def tenants(self) -> Tenants:
        """Transactions for what comes with an API key: as the role that sees one merchant, where there is one."""
        return self.database.tenants

    @property
    def return_pages(self) -> ReturnPages:
        """Where customers come back to."""
        return ReturnPages(self.ids, self.settings.reached_at)

    @property
    def sealer(self) -> Sealer:
        """Seals and opens what must not lie in the clear: secrets of endpoints and accounts, personal data."""
        return Sealer(self.settings.webhook_keys())


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, for_api: bool = False, with_vault: bool = True
) -> AsyncIterator[Runtime]:
    """Everything is open while the block runs; recordings under way end before the connections close.

    `for_api`: also the connections as the API's role, as far as the settings name one. `with_vault`: as far as the
    settings name one. Who neither saves nor sends does not read its keys.

    Raises `LiveRefused` for settings that live mode refuses, `SettingsWrong` when Postgres cannot be reached or a
    connector's account is wrong, and `StorageUnavailable` when Postgres could lose a commit.
    """
    check_live(settings)
    database = open_database(
        settings,
        pool_size=settings.database_pool_size,
        durability=settings.durability,
        api_url=settings.api_database_url if for_api else None,
    )
    redis = _redis(settings)
    accounts: Accounts | None = None
    recorder: Recorder | None = None
    wakeups: WakeUps | None = None
    risk: Assessor | None = None
    vault: Vault | None = None
    try:
        vault = open_vault(settings) if with_vault else None
        await check_reachable(database)
        await check_durability(database, live=settings.live, durability=settings.durability)
        ids = ids_of(settings)
        wakeups = WakeUps(redis)
        counts, hashes = VelocityCounts(redis, database), SubjectHashes(settings.fingerprint_keys())
        risk = Assessor(open_providers(_providers(settings, counts)))
        recorder = Recorder(database, ids, wakeups, risk=RiskOutcomes(hashes, counts))
        calls = Calls()
        accounts = _accounts(settings, database, calls)
        issuers = Issuers(database)
        store = None if settings.receipts_url is None else open_store(settings)
        yield Runtime(
            *(settings, database, redis, wakeups, ids, Rights(), recorder, accounts, calls, issuers),
            *(store, risk, vault),
        )
    finally:
        if risk is not None:
            await risk.close()
        if recorder is not None:
            await recorder.drain()
        if wakeups is not None:
            await wakeups.close()
        if accounts is not None:
            await accounts.close()
        if vault is not None:
            await vault.keys.close()
        await redis.aclose()
        await database.close()


@asynccontextmanager
async def open_process(
    settings: Settings, *, for_api: bool = False, with_vault: bool = True
) -> AsyncIterator[Runtime]:
    """The same for a process that serves.

    Raises `SettingsWrong` where the settings do not belong to the database, or name a role that sees too much or too
    little of it.
    """
    async with open_runtime(settings, for_api=for_api, with_vault=with_vault) as runtime:
        await check_ids(runtime.database, ids=runtime.ids)
        await check_engine_role(runtime.database, sends_saved=runtime.vault is not None)
        if for_api:
            await check_api_role(runtime.database)
        async with runtime.accounts.following():
            await check_accounts(runtime.database, accounts=runtime.accounts.ids)
            yield runtime


def ids_of(settings: Settings) -> IdFactory:
    """What derives the ids of this deployment."""
    return IdFactory(settings.secret_for("ids"), cell=settings.cell)


def open_database(
    settings: Settings, *, pool_size: int, durability: Durability | None = None, api_url: str | None = None
) -> Database:
    """The connections, none of them open yet. Raises `SettingsWrong` for what is no URL of a database."""
    try:
        return Database(
            settings.database_url,
            pool_size=pool_size,
            durability=durability,
            api_url=api_url,
            packs=settings.pack_bodies,
        )
    except (ArgumentError, ValueError) as error:
        named = (
            "PAYONCE_DATABASE_URL" if api_url is None else "PAYONCE_DATABASE_URL, PAYONCE_API_DATABASE_URL"
        )
        raise SettingsWrong(f"{named}: it is no postgresql+psycopg://user@host:port/name") from error


def _redis(settings: Settings) -> Redis:
    """The connections, none of them open yet. Raises `SettingsWrong` for what is no URL of a Redis."""
    try:
        redis = Redis.from_url(
            settings.redis_url,
            socket_timeout=None,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            max_connections=REDIS_CONNECTIONS_MAX,
        )
        redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # of no use: it reads the members
    except (ValueError, TypeError) as error:
        raise SettingsWrong(
            "PAYONCE_REDIS_URL: it is no redis://host:port/0, or has a member that Redis' client does not know"
        ) from error
    return redis


def _providers(settings: Settings, counts: VelocityCounts) -> dict[str, RiskProvider]:
    """The risk providers that need what this process has."""
    service = HttpRisk(Sealer(settings.webhook_keys()), settings.allow_loopback_webhooks)
    return {RuleBook.name: RuleBook(counts), HttpRisk.name: service}


def _accounts(settings: Settings, database: Database, calls: Calls) -> Accounts:
    """Those of the settings; those in Postgres are not read yet. Raises `SettingsWrong` for one that is refused."""
    fixed = settings.accounts()
    try:
        opened = open_connectors(fixed)
    except Rejected as error:
        raise SettingsWrong(f"PAYONCE_CONNECTOR_ACCOUNTS: {error.message}") from error
    connectors = {id_: Measured(id_, connector, calls) for id_, connector in opened.items()}
    source = Source(database, settings, Sealer(settings.webhook_keys()), calls)
    return Accounts(fixed, connectors, source=source)


def spare_collector() -> None:
    """What is there after starting lives as long as the process: no collection looks through it again.

    Full collections took 90 ms each, in which nothing else happened (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
