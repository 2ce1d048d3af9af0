"""Second legs of this process: claimed in Postgres, sent once, and how they ended.

A claim that is not proven is not a right: it is given back where that can be said, and stands otherwise until the
acquirer was asked about its attempt.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from payonce.accounts import Accounts
from payonce.claims import GIVE_BACK_WITHIN_S
from payonce.clock import boot_clock_s
from payonce.connectors.base import Capabilities
from payonce.domain import legs as rules
from payonce.domain.ids import random_id
from payonce.domain.legs import EndedLeg, LegState
from payonce.domain.operations import Attempt, OperationStatus, Subject
from payonce.logging import get_logger
from payonce.rights import SEND_WITHIN_S, Right
from payonce.sealing import Sealer
from payonce.standing import Standing, call_about, read_standing
from payonce.storage import legs, returns
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.legs import BroughtBack

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LegRight:
    """What its holder may put on the wire, once, while `right` holds."""

    attempt: Attempt
    number: int
    right: Right
    parameters: Mapping[str, str] = field(repr=False)

    def ended(self, state: LegState) -> EndedLeg:
        """This claim of the leg, as it ended."""
        return EndedLeg(self.number, self.right.token, state)


class Legs:
    """Claims legs for this process, and says how they ended."""

    def __init__(self, database: Database, accounts: Accounts, *, owner: str, sealer: Sealer) -> None:
        """`owner`: this process's id for this boot."""
        self._database = database
        self._accounts = accounts
        self._owner = owner
        self._sealer = sealer

    async def is_due(self, standing: Standing) -> bool:
        """Whether a customer of this attempt is back, and a run may send what they brought."""
        attempt = standing.attempt
        if attempt is None or attempt.returned_at is None or not rules.waits_for_leg(attempt):
            return False
        async with self._database.reading() as connection:
            brought = await connection.fetch(legs.of_attempt(attempt))
        return self._due(standing, attempt, brought) is not None

    async def was_claimed(self, attempt: Attempt) -> bool:
        """Whether a leg of the attempt was ever claimed."""
        async with self._database.reading() as connection:
            brought = await connection.fetch(legs.of_attempt(attempt))
        return any(one.brought.leg is not None for one in brought)

    async def claim(self, subject: Subject) -> LegRight | None:
        """The right to the leg that is due, under the payment's lock; None: none is, or its claim is not proven.

        Raises `StorageUnavailable` or `CannotUnseal`. Must not be cancelled: the claim would stand with nobody to
        send it.
        """
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        claimed: LegRight | None = None
        try:
            async with self._database.transaction() as connection:
                standing = await read_standing(
                    connection, subject.payment_id, subject.operation_id, lock=True
                )
                await self._accounts.connector(standing.connector_account, connection)
                claimed = await self._claim(connection, standing, deadline=deadline)
        except CommitUnknown as unknown:
            if claimed is not None:
                await self._give_back(claimed, unknown)
            return None
        return claimed

    async def end(self, leg: LegRight, state: LegState) -> None:
        """How this claim of the leg ended. Raises `StorageUnavailable` or `CommitUnknown`."""
        async with self._database.transaction() as connection:
            await legs.end(connection, leg.attempt, leg.ended(state))

    async def _claim(self, connection: Connection, standing: Standing, *, deadline: float) -> LegRight | None:
        attempt = standing.attempt
        if attempt is None or standing.operation.status is not OperationStatus.PENDING:
            return None
        brought = await connection.fetch(legs.of_attempt(attempt))
        number = self._due(standing, attempt, brought)
        sealed = next((one.sealed for one in brought if one.brought.number == number), None)
        if number is None or sealed is None:
            return None
        parameters = returns.unseal(self._sealer, sealed, attempt, number=number)
        token = random_id("run")
        await legs.claim(connection, attempt, number=number, owner=self._owner, token=token)
        right = Right(
            call_about(standing, attempt), attempt.number, token, attempt.connector_account, deadline
        )
        return LegRight(attempt, number, right, parameters)

    def _due(self, standing: Standing, attempt: Attempt, brought: list[BroughtBack]) -> int | None:
        capabilities = self._capabilities(attempt)
        return rules.due(
            attempt,
            [one.brought for one in brought],
            replays=capabilities.replays_legs,
            call_deadline_s=capabilities.call_deadline_s,
            now=standing.now,
        )

    def _capabilities(self, attempt: Attempt) -> Capabilities:
        return self._accounts.capabilities[attempt.connector_account]

    async def _give_back(self, leg: LegRight, unknown: CommitUnknown) -> None:
        """A claim that is not proven is no right: nothing is sent, and it is given back once its COMMIT ended."""
        log.warning("leg_not_proven", operation_id=leg.attempt.operation_id, leg=leg.number)
        if unknown.ended is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(unknown.ended), GIVE_BACK_WITHIN_S)
        with suppress(StorageUnavailable, CommitUnknown):
            await self.end(leg, LegState.NOT_SENT)
