"""Claims: who may send an attempt, and until when.

The claim is a row in Postgres, committed before the first byte; its owner alone may send, by the right that it holds
in memory (`payonce/rights.py`). A right exists only where COMMIT was answered as a proof. Any other claim is given
back by the process that made it, which is always safe: the operation goes on with its next attempt.
"""

import asyncio
from dataclasses import dataclass, replace

from payonce import paying
from payonce.accounts import Accounts
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain import claiming, stepping_up
from payonce.domain.claiming import CommitEnd, Release
from payonce.domain.facts import Declined
from payonce.domain.ids import attempt_reference, random_id
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.personal import NOTHING_PERSONAL, PersonalData
from payonce.domain.returning import ReturnPages
from payonce.domain.routing import Because
from payonce.logging import get_logger
from payonce.rights import SEND_WITHIN_S, Right, Rights
from payonce.sealing import Sealer
from payonce.standing import Standing, read_standing
from payonce.storage import attempts, idempotency, payments, personal_data
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.idempotency import Key

CLAIMS_MAX = 3  # that one run makes, where Postgres answers none of them in time
GIVE_BACK_WITHIN_S = 2.0  # a run waits so long for its release; it goes on without it
RELEASE_TRIES_MAX = 1_000  # an hour, where Postgres refuses at once: then the claim goes through inquiry
_RELEASE_AGAIN_S = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)  # and then always the last

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim among all that an operation ever had: by its attempt's number, and its own token.

    `key`: of the create whose transaction made the claim together with the key's row, and may still be at work.
    """

    payment_id: str
    operation_id: str
    number: int
    token: str
    key: Key | None = None


class Releases:
    """Gives claims of this process back, unsent, whoever waits for that and however long it takes.

    Whoever calls has popped the right before, or never had one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self, claim: Claim, *, ended: "asyncio.Future[CommitEnd] | None" = None
    ) -> asyncio.Task[Release]:
        """The task whose result is proven: what became of the claim. `ended`: its COMMIT is waited for first.

        Raises `StorageUnavailable` once it has tried often enough: the claim then goes through inquiry.
        """
        task = asyncio.create_task(self._give_back(claim, ended))
        self._database.lets_end(task)
        task.add_done_callback(_look_at)
        return task

    async def _give_back(self, claim: Claim, ended: "asyncio.Future[CommitEnd] | None") -> Release:
        if ended is not None and (await asyncio.shield(ended)).nothing_holds:
            return Release.NEVER_HELD
        for tries in range(RELEASE_TRIES_MAX):
            await self._database.gate.opened()
            try:
                return await self._once(claim)
            except _NeverHeld:
                return Release.NEVER_HELD
            except (StorageUnavailable, CommitUnknown) as error:
                log.warning("release_retried", operation_id=claim.operation_id, error=error.code)
                await asyncio.sleep(_RELEASE_AGAIN_S[min(tries, len(_RELEASE_AGAIN_S) - 1)])
        raise StorageUnavailable("the claim could not be given back")

    async def _once(self, claim: Claim) -> Release:
        """Under the lock that the claim's own transaction held to its end: the key's row, or the payment's."""
        async with self._database.transaction() as connection:
            if claim.key is not None and await idempotency.claim_key(connection, claim.key):
                raise _NeverHeld
            await connection.fetch(payments.locked(claim.payment_id))
            return await attempts.release(
                connection, operation_id=claim.operation_id, number=claim.number, token=claim.token
            )


def _look_at(task: asyncio.Task[Release]) -> None:
    """A release that did not come about is logged."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("claim_not_given_back", error=getattr(error, "code", type(error).__name__))


class _NeverHeld(Exception):
    """The key is free: nobody's transaction holds it, nor will."""


class Claimant:
    """Claims attempts for this process: never one that is claimed already, or whose account it does not have.

    What `accounts` says of an account also is whether an authorization there needs what is held in memory; `sealer`
    opens what those that do not need of the customer, and `pages` says where the customer comes back to.
    """

    def __init__(
        self,
        database: Database,
        rights: Rights,
        accounts: Accounts,
        *,
        sealer: Sealer | None = None,
        pages: ReturnPages | None = None,
    ) -> None:
        self._database = database
        self._rights = rights
        self._accounts = accounts
        self._sealer = sealer
        self._pages = pages
        self._releases = Releases(database)

    async def claim(self, *, payment_id: str, operation_id: str) -> Right | Standing:
        """The right to a new attempt, where a run may make one; else how the operation stands.

        A new attempt is possible while the operation is pending and its latest attempt was provably not sent (or
        there is none), and, for an authorization with a card, while this process holds that. A claim that is not
        proven is given back, and the next one tried. Raises `StorageUnavailable`. Must not be cancelled: the claim
        would stand with nobody to send it.
        """
        for _ in range(CLAIMS_MAX):
            found = await self._claim_once(payment_id, operation_id)
            if found is not None:
                return found
        raise StorageUnavailable("no claim was answered in time")

    async def _claim_once(self, payment_id: str, operation_id: str) -> Right | Standing | None:
        """As `claim`; None: it was made, not proven, and given back, so that the next one is possible."""
        token = random_id("run")
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        unsent = self._rights.take_unsent(operation_id)
        right: Right | None = None
        try:
            async with self._database.transaction() as connection:
                standing = await read_standing(connection, payment_id, operation_id, lock=True)
                await self._accounts.connector(_sent_to(standing), connection)
                number = self._next_number(standing, has_data=unsent is not None)
                if number is None:
                    return standing
                personal = await self._personal_data(connection, standing, unsent)
                right = _right(standing, unsent, personal, number=number, token=token, deadline=deadline)
                right = await self._with_saved(connection, standing, right)
                right = self._with_page(standing, right)
                stepping = unsent is not None and standing.attempt is not None and standing.attempt.steps_up
                because = Because.SOFT_DECLINE if stepping else Because.PAYMENT
                await self._insert(connection, standing, right, routed_by=because)
        except CommitUnknown as unknown:
            if right is None:
                return standing  # nothing was written
            await self._give_back(payment_id, operation_id, right, ended=unknown.ended)
            return None
        except Exception:  # nothing was claimed: the card may still serve, or be withdrawn
            if unsent is not None:
                self._rights.keep_unsent(operation_id, unsent)
            raise
        return right

    async def step_up(
        self, *, payment_id: str, operation_id: str, right: Right, fact: Declined
    ) -> Right | None:
        """The right to an attempt that forces the challenge, after this right's own was softly declined.

        The decline is recorded, and the further attempt claimed at the same account, in one transaction. None:
        nothing may follow, or it is not proven and is given back; then the decline is recorded as any other, and
        counts where the claim is not there. Raises `StorageUnavailable`. Must not be cancelled.
        """
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        further: Right | None = None
        try:
            async with self._database.transaction() as connection:
                standing = await read_standing(connection, payment_id, operation_id, lock=True)
                latest, given_up = standing.attempt, standing.payment.pending_operation is not None
                after = stepping_up.declined(
                    standing.operation, latest, fact, number=right.attempt, token=right.token
                )
                if latest is None or after is None or given_up:
                    return None
                await attempts.save_attempt(connection, latest, after)
                further = _forced(right, operation_id, token=random_id("run"), deadline=deadline)
                further = self._with_page(standing, further)
                await self._insert(connection, standing, further, routed_by=Because.SOFT_DECLINE)
        except CommitUnknown as unknown:
            if further is not None:
                await self._give_back(payment_id, operation_id, further, ended=unknown.ended)
            return None
        return further

    async def _give_back(
        self, payment_id: str, operation_id: str, right: Right, *, ended: "asyncio.Future[CommitEnd] | None"
    ) -> None:
        """The claim is given back; its card may serve the next one. Raises `StorageUnavailable` if that lasts."""
        log.warning("claim_not_proven", operation_id=operation_id, attempt=right.attempt)
        claim = Claim(
            payment_id=payment_id, operation_id=operation_id, number=right.attempt, token=right.token
        )
        releasing = self._releases.begin(claim, ended=ended)

        def keep(task: asyncio.Task[Release]) -> None:
            if not task.cancelled() and task.exception() is None and task.result().unsent:
                self._rights.keep_unsent(operation_id, right)

        if right.in_memory:
            releasing.add_done_callback(keep)
        await asyncio.wait({releasing}, timeout=GIVE_BACK_WITHIN_S)
        if not releasing.done():
            raise StorageUnavailable("the claim is still being given back")

    def _next_number(self, standing: Standing, *, has_data: bool) -> int | None:
        pending = standing.operation.status is OperationStatus.PENDING and not standing.held_back
        has_data = has_data or self._needs_none(standing)
        return claiming.next_number(standing.attempt, pending=pending, has_data=has_data)

    def _needs_none(self, standing: Standing) -> bool:
        """Whether all that the acquirer needs is in Postgres."""
        capabilities = self._accounts.capabilities.get(standing.payment.connector_account)
        return standing.operation.kind is not OperationKind.AUTHORIZE or (
            capabilities is not None and not capabilities.in_memory(standing.payment)
        )

    async def _personal_data(
        self, connection: Connection, standing: Standing, unsent: Right | None
    ) -> PersonalData:
        """What its first request said of the customer, where that is not in memory. Raises `CannotUnseal`."""
        if unsent is not None or standing.operation.kind is not OperationKind.AUTHORIZE:
            return NOTHING_PERSONAL
        return await personal_data.find(connection, self._sealer, payment_id=standing.payment.id)

    async def _with_saved(self, connection: Connection, standing: Standing, right: Right) -> Right:
        """With what the saved card is paid with that the authorization is made with; nothing for any other."""
        payment = standing.payment
        if standing.operation.kind is not OperationKind.AUTHORIZE:
            return right
        saved = await paying.saved_card(connection, payment)
        if saved is None:
            return replace(right, takes=None) if right.takes is not None else right
        cvc = None if right.takes is None else right.takes.cvc
        takes = paying.to_take(payment, saved, cvc=cvc)
        return replace(right, call=paying.with_credential(right.call, payment, saved), takes=takes)

    def _with_page(self, standing: Standing, right: Right) -> Right:
        """With the address to which the customer of this claim comes back, where the acquirer may ask for one."""
        capabilities = self._accounts.capabilities.get(right.connector_account)
        may_ask = capabilities is not None and capabilities.needs_action
        if standing.operation.kind is not OperationKind.AUTHORIZE or self._pages is None or not may_ask:
            return right
        address = self._pages.address(reference=right.call.reference, claim=right.token)
        return replace(right, call=replace(right.call, return_url=address))

    async def _insert(
        self,
        connection: Connection,
        standing: Standing,
        right: Right,
        *,
        routed_by: Because = Because.PAYMENT,
    ) -> None:
        sent_to = standing.sent_to
        await paying.note(connection, right.takes, right.call, by=paying.as_process(self._rights.owner))
        await attempts.insert_claim(
            connection,
            standing.operation,
            number=right.attempt,
            connector=sent_to.connector,
            connector_account=sent_to.connector_account,
            owner=self._rights.owner,
            token=right.token,
            routed_by=routed_by,
            acquirer_identity=self._accounts.identities.get(sent_to.connector_account),
        )


def _sent_to(standing: Standing) -> str:
    """The account of the next attempt."""
    return standing.sent_to.connector_account


def _forced(right: Right, operation_id: str, *, token: str, deadline: float) -> Right:
    """The attempt after this right's, with the same card, and the challenge that its issuer wants."""
    number = right.attempt + 1
    call = replace(right.call, reference=attempt_reference(operation_id, number), sca=stepping_up.FORCED)
    return replace(right, call=call, attempt=number, token=token, deadline=deadline)


def _right(
    standing: Standing,
    unsent: Right | None,
    personal: PersonalData,
    *,
    number: int,
    token: str,
    deadline: float,
) -> Right:
    """What the claim's owner may send: with the data of the attempt that was not sent, where it needs that."""
    payment, operation = standing.payment, standing.operation
    reference = attempt_reference(operation.id, number)
    if unsent is not None:
        call = replace(unsent.call, reference=reference)
    else:
        call = call_of(
            payment,
            operation,
            reference=reference,
            target=standing.target,
            dispute=standing.dispute,
            personal=personal,
        )
    takes = None if unsent is None else unsent.takes
    return Right(call, number, token, _sent_to(standing), deadline, takes=takes)
