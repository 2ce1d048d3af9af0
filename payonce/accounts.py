"""The connector accounts of one process: those of the settings, and those in Postgres as they are now.

Postgres is asked every few seconds whether anything has changed, and at once for an account that is not known here.
Whose secrets an account has, its acquirer is asked once for each generation of them. An account that belongs to
somebody else than its row says takes no new payment, and nothing is asked there; one whose acquirer cannot be asked
takes payments as before, since whoever entered the secrets asked.

Where an acquirer has charges of ours that Postgres does not know, as reconciliation found, Postgres was restored or
has lost something: at such an account, whatever is about to be sent is looked for first (`is_ahead`).

Where callbacks carry the truth, an account takes no payment before one of them has come: a test one is enough.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from payonce.connectors.base import Capabilities, Connector
from payonce.connectors.measured import Calls, Measured, Whose
from payonce.connectors.registry import Registry, installed, open_connectors
from payonce.domain.errors import ConnectorError, NotFound, PaymentError, Rejected
from payonce.domain.operations import Attempt
from payonce.domain.routing import ConnectorAccount
from payonce.logging import get_logger
from payonce.metrics import ACCOUNTS_CLOSED, CALLBACK_HEARD, Rounds, accounts_at_zero
from payonce.sealing import Sealer
from payonce.settings import Settings
from payonce.storage import connector_accounts as store
from payonce.storage import reconciliation_runs
from payonce.storage.connector_accounts import StoredAccount
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

LOOK_EVERY_S: Final = 3.0  # with the time of a look less than the 5 s that are promised
IDENTIFY_WITHIN_S: Final = 5.0
ASKED_AT_ONCE: Final = 8
ASK_AGAIN_S: Final = (5.0, 15.0, 60.0, 300.0, 600.0)  # and then always the last
_CLOSING: Final = (Whose.REFUSED, Whose.ANOTHER)
_NOT_OPENED: Final = "not_opened"
_UNHEARD: Final = "unheard"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where accounts are stored, and what opens them."""

    database: Database
    settings: Settings
    sealer: Sealer
    calls: Calls

    def opened(self, stored: StoredAccount, known: Registry) -> tuple[ConnectorAccount, Connector]:
        """The account with its secrets, and its connector. Raises `PaymentError` where it cannot be opened."""
        account = self.settings.placed(stored.unsealed(self.sealer))
        return account, open_connectors([account], registry=known)[account.id]


class Accounts:
    """By id, for ever: what was known once stays, whatever becomes of the account."""

    def __init__(
        self,
        fixed: Iterable[ConnectorAccount] = (),
        connectors: Mapping[str, Any] | None = None,
        *,
        source: Source | None = None,
    ) -> None:
        self._fixed = tuple(fixed)
        self._connectors: dict[str, Any] = dict(connectors or {})
        self._source = source
        self._stored: dict[str, StoredAccount] = {}
        self._accounts = {account.id: account for account in self._fixed}
        self._candidates: dict[str | None, tuple[ConnectorAccount, ...]] = {None: self._fixed}
        self._closed: dict[str, str] = {}  # to new payments, and why
        self._broken: dict[str, object] = {}  # could not be opened as they were then
        self._seen: object = None
        self._ahead: frozenset[str] = frozenset()
        self._known: Registry | None = None
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._heard: dict[str, float] = {}  # when a callback of an account was last told to Postgres
        self._due: dict[str, tuple[float, int]] = {}  # when to ask again whose secrets an account has
        self._tasks: set[asyncio.Task[None]] = set()
        self.connectors: Mapping[str, Measured] = MappingProxyType(self._connectors)
        self.capabilities: Mapping[str, Capabilities] = _OfConnectors(self._connectors)
        self.identities: Mapping[str, str | None] = _Identities(self._accounts)
        accounts_at_zero({account.id: account.connector for account in self._fixed})

    @property
    def ids(self) -> frozenset[str]:
        """Every account that there is, whether it could be opened here or not."""
        return frozenset((*self._connectors, *self._broken))

    def candidates(self, merchant_id: str) -> tuple[ConnectorAccount, ...]:
        """Which accounts may take a new payment of the merchant, in this order: the merchant's own come first."""
        found = self._candidates.get(merchant_id) or self._candidates[None]
        return tuple(one for one in found if one.id not in self._closed) if self._closed else found

    def called(self, connector: str) -> list[str]:
        """The ids of this connector's accounts in the settings: their callbacks have one address."""
        return [account.id for account in self._fixed if account.connector == connector]

    def is_of(self, account_id: str, connector: str) -> bool:
        """Whether the account is known here, and of this connector."""
        account = self._accounts.get(account_id)
        return account is not None and account.connector == connector

    def mode_of(self, account_id: str) -> str:
        """Whether the account is of test or live mode."""
        return self._accounts[account_id].mode

    def merchant_of(self, account_id: str) -> str | None:
        """Whose agreement the account is; None: every merchant's."""
        return self._accounts[account_id].merchant_id

    def may_charge_for(self, account_id: str, merchant_id: str, mode: str) -> bool:
        """Whether a charge at the account may be this merchant's, in that mode: another one's own has none of it."""
        account = self._accounts[account_id]
        return mode == account.mode and account.merchant_id in (None, merchant_id)

    def is_apart(self, account_id: str, attempt: Attempt) -> bool:
        """Whether the attempt was certainly sent to another acquirer's books than those of the account."""
        account = self._accounts[account_id]
        if attempt.connector_account == account_id:
            return False
        pinned = (account.identity, attempt.acquirer_identity)
        return account.connector != attempt.connector or (None not in pinned and pinned[0] != pinned[1])

    def is_ahead(self, account_id: str) -> bool:
        """Whether its acquirer has charges of ours that are not known here, until a person has settled them."""
        return account_id in self._ahead

    def heard(self, account_id: str) -> None:
        """A callback that the account verified has come: known to all, sooner or later, once a minute at most."""
        if account_id not in self._stored or self._source is None:
            return
        CALLBACK_HEARD.labels(account_id).set_to_current_time()
        now_s, last_s = asyncio.get_running_loop().time(), self._heard.get(account_id)
        if last_s is None or now_s - last_s >= store.HEARD_EVERY.total_seconds():
            self._heard[account_id] = now_s
            self._begin(self._tell_heard(account_id, self._source.database))

    async def find(self, account_id: str, connection: Connection | None = None) -> Measured | None:
        """The account's connector; read from Postgres, on this connection, where it is not known here yet.

        Raises `PaymentError` for one that cannot be opened here.
        """
        if account_id not in self._connectors and self._source is not None:
            await self._learn(account_id, connection)
        found: Measured | None = self._connectors.get(account_id)
        return found

    async def connector(self, account_id: str, connection: Connection | None = None) -> Measured:
        """As `find`. Raises `NotFound` where there is no such account."""
        found = await self.find(account_id, connection)
        if found is None:
            raise NotFound(f"There is no connector account {account_id!r}.")
        return found

    async def refresh(self) -> None:
        """What is in Postgres is known here. Raises what storage raises."""
        if self._source is None:
            return
        async with self._source.database.reading() as connection:
            self._ahead = await reconciliation_runs.ahead(connection)
            seen = await store.fingerprint(connection)
            if seen == self._seen:
                return
            found = await store.all_accounts(connection)
        for stored in found:
            self._take(stored)
            await asyncio.sleep(0)  # opening one takes milliseconds of the event loop
        self._order(found)
        self._seen = seen

    async def begin(self) -> None:
        """As `refresh`, and every acquirer that answers has said by now whose the secrets are."""
        await self.refresh()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=IDENTIFY_WITHIN_S)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Changes are known within 5 s while the block runs, and Postgres answers."""
        await self.begin()
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def close(self) -> None:
        """Every connection is closed, and nobody is asked any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for connector in self._connectors.values():
            await connector.close()

    async def _follow(self) -> None:
        clock, rounds = asyncio.get_running_loop().time, Rounds("connector_accounts")
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.refresh()
                rounds.ended()
            except PaymentError as error:
                log.warning("connector_accounts_not_read", error=error.code)
            except Exception as error:  # ours to mend; what is known serves meanwhile
                log.error("connector_accounts_broken", error=type(error).__name__)
            for account_id in [id_ for id_, (at, _) in self._due.items() if at <= clock()]:
                self._ask_later(account_id)

    async def _learn(self, account_id: str, connection: Connection | None) -> None:
        assert self._source is not None
        own: AbstractAsyncContextManager[Connection] = (
            self._source.database.reading() if connection is None else nullcontext(connection)
        )
        async with own as reading:
            stored = await store.find_account(reading, account_id)
        if stored is None or account_id in self._connectors:
            return
        self._broken.pop(account_id, None)
        self._take(stored)
        if account_id not in self._connectors:
            raise Rejected(f"The connector account {account_id!r} cannot be opened here.")

    def _take(self, stored: StoredAccount) -> None:
        """The account is known as it is stored; one that cannot be opened is logged, and stays as it was here."""
        before = self._stored.get(stored.id)
        unchanged = before is not None and before.state == stored.state
        if unchanged or self._broken.get(stored.id) == stored.state:
            return
        if any(account.id == stored.id for account in self._fixed):
            return self._not_opened(stored, "an account of the settings has this id")
        try:
            self._open(stored, before)
        except PaymentError as error:
            self._not_opened(stored, error.message)
        else:
            self._broken.pop(stored.id, None)
            self._stored[stored.id] = stored

    def _open(self, stored: StoredAccount, before: StoredAccount | None) -> None:
        assert self._source is not None
        self._known = self._known or installed()
        if before is not None and before.secrets == stored.secrets:  # only whether it is enabled
            account = self._accounts[stored.id]
            self._accounts[stored.id] = replace(account, enabled=stored.account.enabled)
            return
        account, connector = self._source.opened(stored, self._known)
        self._accounts[stored.id] = account
        measured = self._connectors.get(stored.id)
        if measured is None:
            accounts_at_zero({account.id: account.connector})
            self._connectors[stored.id] = Measured(
                stored.id, connector, self._source.calls, whose=Whose.NOT_ASKED
            )
            self._close_to_payments(stored.id, Whose.NOT_ASKED)
        else:
            self._begin(measured.replace(connector, whose=Whose.NOT_ASKED))
        log.info("connector_account_opened", account=stored.id, connector=account.connector)
        self._due[stored.id] = (0.0, 0)
        self._ask_later(stored.id)

    def _not_opened(self, stored: StoredAccount, why: str) -> None:
        self._broken[stored.id] = stored.state
        ACCOUNTS_CLOSED.labels(stored.id, _NOT_OPENED).set(1)
        log.error("connector_account_not_opened", account=stored.id, why=why)

    def _unheard(self, stored: StoredAccount) -> bool:
        """Whether only callbacks could say what became of its payments, and none has ever come."""
        if stored.heard_at is not None:
            CALLBACK_HEARD.labels(stored.id).set(stored.heard_at.timestamp())
        if stored.id not in self._connectors:
            return False
        unheard = stored.heard_at is None and self._connectors[stored.id].capabilities.callbacks_carry_facts
        ACCOUNTS_CLOSED.labels(stored.id, _UNHEARD).set(unheard and stored.account.enabled)
        return unheard

    def _order(self, found: Collection[StoredAccount]) -> None:
        """Who takes the payments of whom, as far as it is known here."""
        here = [self._accounts[stored.id] for stored in found if stored.id in self._stored]
        unheard = {stored.id for stored in found if self._unheard(stored)}
        enabled = [account for account in here if account.enabled and account.id not in unheard]
        shared = (*(account for account in enabled if account.merchant_id is None), *self._fixed)
        owners = {account.merchant_id for account in enabled if account.merchant_id is not None}
        self._candidates = {None: shared} | {
            owner: (*(account for account in enabled if account.merchant_id == owner), *shared)
            for owner in owners
        }

    def _ask_later(self, account_id: str) -> None:
        _, asked = self._due.pop(account_id)
        self._begin(self._ask(account_id, asked))

    async def _ask(self, account_id: str, asked: int) -> None:
        """Whose secrets the account has; what the answer is worth, only for the secrets that were here before."""
        measured = self._connectors[account_id]
        stored = self._stored[account_id]
        async with self._asking:
            whose, words = await identified(measured, self._accounts[account_id])
        if self._stored[account_id].secrets != stored.secrets:
            return  # they were replaced meanwhile, and are asked about
        measured.whose = whose
        if whose is not Whose.PINNED:
            pause_s = ASK_AGAIN_S[min(asked, len(ASK_AGAIN_S) - 1)]
            self._due[account_id] = (asyncio.get_running_loop().time() + pause_s, asked + 1)
            say = log.warning if whose is Whose.UNANSWERED else log.error
            say("connector_account_not_identified", account=account_id, whose=whose, why=words)
        if whose in _CLOSING:
            self._close_to_payments(account_id, whose)
        elif whose is Whose.PINNED or self._closed.get(account_id) == Whose.NOT_ASKED:
            self._open_to_payments(account_id)

    def _close_to_payments(self, account_id: str, whose: Whose) -> None:
        self._closed[account_id] = whose
        for reason in _CLOSING:
            ACCOUNTS_CLOSED.labels(account_id, reason).set(whose is reason)

    def _open_to_payments(self, account_id: str) -> None:
        self._closed.pop(account_id, None)
        for reason in (*_CLOSING, _NOT_OPENED):
            ACCOUNTS_CLOSED.labels(account_id, reason).set(0)

    async def _tell_heard(self, account_id: str, database: Database) -> None:
        try:
            async with database.transaction() as connection:
                await store.heard(connection, account_id)
        except PaymentError as error:  # the next callback tells it
            self._heard.pop(account_id, None)
            log.warning("connector_account_not_told", account=account_id, error=error.code)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def identified(connector: Any, account: ConnectorAccount) -> tuple[Whose, str]:
    """Whose secrets the account has, as its acquirer says, and what is wrong in words."""
    try:
        async with asyncio.timeout(IDENTIFY_WITHIN_S):
            found = await connector.identify()
    except Rejected as error:
        return Whose.REFUSED, error.message
    except ConnectorError as error:
        return Whose.UNANSWERED, error.message
    except TimeoutError:
        return Whose.UNANSWERED, "the acquirer did not answer in time"
    except Exception as error:  # the connector's to mend: it says nothing of the secrets
        return Whose.UNANSWERED, type(error).__name__
    if (found.id, found.mode) != (account.identity, account.mode):
        pinned = f"{account.identity} in {account.mode} mode"
        return (
            Whose.ANOTHER,
            f"the secrets are of {found.id} in {found.mode} mode, and the account is {pinned}",
        )
    return Whose.PINNED, ""


class _Identities(Mapping[str, str | None]):
    """How the acquirer calls each account, by its id, where that is pinned, as it is now."""

    def __init__(self, accounts: Mapping[str, ConnectorAccount]) -> None:
        self._accounts = accounts

    def __getitem__(self, account_id: str) -> str | None:
        return self._accounts[account_id].identity

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)


class _OfConnectors(Mapping[str, Capabilities]):
    """What each account's acquirer can do, as it is now."""

    def __init__(self, connectors: Mapping[str, Any]) -> None:
        self._connectors = connectors

    def __getitem__(self, account_id: str) -> Capabilities:
        found: Capabilities = self._connectors[account_id].capabilities
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._connectors)

    def __len__(self) -> int:
        return len(self._connectors)
