"""A person's decision: recorded in Postgres first, then told to whoever works on it, where Temporal answers."""

import asyncio
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.service import RPCError

from payonce.domain.decisions import Decision, Finality
from payonce.domain.errors import NotHandedOver
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import Operation, Origin, Subject
from payonce.domain.payment import Payment
from payonce.recording.decisions import Account, DecisionTaken
from payonce.runtime import Runtime
from workers.dispatch import Dispatcher
from workers.temporal import client_of

TELL_WITHIN_S = 6.0
NOBODY_WAITS = "no workflow waits for it"


@dataclass(frozen=True, slots=True)
class Told:
    """A decision that holds, and what became of telling it, in words."""

    taken: DecisionTaken
    words: str


def accounts_of(runtime: Runtime) -> dict[str, Account]:
    """What decisions need to know of the connector accounts, by id."""
    return {
        id_: Account(Finality(one.call_deadline_s, one.finality_s), one.abilities)
        for id_, one in runtime.accounts.capabilities.items()
    }


async def decide(runtime: Runtime, subject: Subject, decision: Decision) -> Told:
    """The decision holds, whether anybody could be told of it or not. Raises what `Recorder.decide` does."""
    taken = await runtime.recorder.decide(subject, decision, accounts=accounts_of(runtime))
    if not concerns_a_workflow(taken.payment, taken.operation):
        return Told(taken, NOBODY_WAITS)
    try:
        async with asyncio.timeout(TELL_WITHIN_S):
            words = await tell(await client_of(runtime.settings), taken.payment, taken.operation)
    except (NotHandedOver, RPCError, RuntimeError, TimeoutError):
        words = "Temporal does not answer: its workflow was not told, and finds it in Postgres"
    return Told(taken, words)


def concerns_a_workflow(payment: Payment, operation: Operation) -> bool:
    """Whether one may work on it: not on what an acquirer did of itself to a payment that is closed."""
    return operation.origin is not Origin.ACQUIRER or payment.status.open


async def tell(client: Client, payment: Payment, operation: Operation) -> str:
    """The workflow that works on the operation looks at it now; a payment that is open has one. Safe to repeat.

    Raises `NotHandedOver`.
    """
    dispatcher = Dispatcher(client)
    said = []
    if operation.origin is not Origin.ACQUIRER:
        reference = attempt_reference(operation.id, 1)
        if await dispatcher.acquirer_spoke(operation, reference):
            said.append("its workflow was told")
    if payment.status.open and await dispatcher.start_again(payment):
        said.append("the payment's workflow was started again")
    return "; ".join(said) or NOBODY_WAITS
