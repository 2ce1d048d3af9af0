"""What was sent, and whose answer was lost, is sent again by a run that does not own the claim."""

from dataclasses import replace
from typing import Final

from payonce.accounts import Accounts
from payonce.clock import boot_clock_s
from payonce.connectors.base import Capabilities, call_of
from payonce.connectors.measured import Measured
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Fact, Unknown
from payonce.domain.operations import Attempt, AttemptState, OperationStatus, Subject
from payonce.domain.truth import anyone_may_replay
from payonce.recording.recorder import Recorder
from payonce.rights import SEND_WITHIN_S, Right
from payonce.standing import Standing

NOT_NOW: Final = "not_replayed"  # why nothing was sent again: another run came first, or may come first


class Replays:
    """Sends again what was sent. Where the first request never arrived that moves money, so it needs what that needs.

    It is no right to send: it is for the reference and the body of one attempt, at the account it was sent to.
    """

    def __init__(self, *, recorder: Recorder, accounts: Accounts) -> None:
        self._recorder = recorder
        self._accounts = accounts

    async def replay(self, subject: Subject, standing: Standing, attempt: Attempt) -> Fact:
        """What the acquirer answers to a capture, void or refund that is sent again; every doubt is `Unknown`.

        Whoever calls knows that the account is still the acquirer's that it was sent to, and that the window is open.
        Before the first byte it is proven that the attempt is in doubt: its owner cannot give it back any more.
        """
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        connector = self._accounts.connectors[attempt.connector_account]
        if not _may(standing, attempt, connector.capabilities):
            return Unknown(NOT_NOW)
        doubted = await self._recorder.record(
            subject,
            attempt=attempt.number,
            token=attempt.token,
            fact=Unknown(NOT_NOW),
            abilities=connector.capabilities.abilities(attempt.kind),
        )
        now = replace(standing, payment=doubted.payment, operation=doubted.operation, attempt=doubted.attempt)
        if not _stays_in_doubt(now, attempt) or not _may(now, attempt, connector.capabilities):
            return Unknown(NOT_NOW)
        call = call_of(now.payment, now.operation, reference=attempt.reference, target=now.target)
        right = Right(call, attempt.number, attempt.token, attempt.connector_account, deadline)
        return await _sent_again(connector, right)


def _stays_in_doubt(now: Standing, attempt: Attempt) -> bool:
    """Whether this very claim stands, unknown, and nobody has recorded an outcome meanwhile."""
    held = now.attempt
    if held is None or now.operation.status is not OperationStatus.PENDING:
        return False
    same = (held.number, held.token) == (attempt.number, attempt.token)
    return same and held.state is AttemptState.UNKNOWN


def _may(standing: Standing, attempt: Attempt, capabilities: Capabilities) -> bool:
    """Where others moved meanwhile what it needs, the first request may not have arrived: then this would be it."""
    window_s = capabilities.idempotent_replay_s
    return not standing.held_back and anyone_may_replay(attempt, standing.now, window_s=window_s)


async def _sent_again(connector: Measured, right: Right) -> Fact:
    try:
        return await connector.replay(right.call, may_send=right.permit())
    except OutcomeUnknown as error:
        return Unknown(error.message, error.connector_reference)
    except ConnectorError as error:  # of this request, and nothing about the one before
        return Unknown(error.code)
