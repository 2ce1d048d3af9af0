"""Faults that the other modules have found, each at the smallest place where it can be held."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import NotOwner, OperationRequest
from payonce.accounts import Accounts
from payonce.connectors.base import Call, Capabilities, call_of
from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.truth import Truth
from payonce.rights import Right, Rights
from payonce.standing import Standing
from payonce.storage.standby import FailOver

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLAIMED_FOR = timedelta(seconds=5)
PAYMENT = Payment(
    id="pay_1",
    merchant_id="mer_1",
    mode="test",
    status=PaymentStatus.INIT,
    amount_minor=1099,
    currency="INR",
    capture_method="automatic",
    payment_method={"type": "card"},
    idempotency_key="k",
    connector="sandbox_card",
    connector_account="account",
    created_at=NOW,
    updated_at=NOW,
)
CREATE = Operation(
    id="pay_1",
    payment_id="pay_1",
    merchant_id="mer_1",
    mode="test",
    kind=OperationKind.AUTHORIZE,
    amount_minor=1099,
    currency="INR",
    created_at=NOW,
    updated_at=NOW,
)


class Clock:
    """Seconds since boot, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class ClaimedHere:
    """A claimant that finds the create claimed by this process just now."""

    def __init__(self, owner: str) -> None:
        self._attempt = Attempt(
            operation_id="pay_1",
            number=2,
            payment_id="pay_1",
            kind=OperationKind.AUTHORIZE,
            connector="sandbox_card",
            connector_account="account",
            reference="pay_1-2",
            state=AttemptState.CLAIMED,
            owner=owner,
            token="run_1",
            send_before=NOW + CLAIMED_FOR,
            claimed_at=NOW,
        )

    async def claim(self, *, payment_id: str, operation_id: str) -> Standing:
        assert (payment_id, operation_id) == ("pay_1", "pay_1")
        return Standing(PAYMENT, CREATE, self._attempt, NOW)


class Account:
    """A connector that only says how it is asked again."""

    capabilities = Capabilities(
        methods=frozenset({"card"}),
        call_deadline_s=10,
        finality_s=10,
        inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
        reversal_by_reference=True,
    )


async def test_a_local_run_that_is_overtaken_by_a_new_claim_of_its_own_process_asks_its_owner() -> None:
    """Temporal came back with the run of a first request while a second one claimed: the card is not lost."""
    rights = Rights()
    missing: Any = None  # a recorder: nothing may be recorded
    claimant: Any = ClaimedHere(rights.owner)  # all that is used of a claimant
    account: Any = Account()  # all that is used of a connector
    attempting = Attempting(
        rights=rights,
        claimant=claimant,
        recorder=missing,
        accounts=Accounts(connectors={"account": account}),
        fail_over=FailOver(),
    )
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, is_local=True)
    request = OperationRequest("pay_1", "pay_1", OperationKind.AUTHORIZE)
    assert await environment.run(attempting.authorize, request) == NotOwner(rights.owner)


class Told:
    """An acquirer whose callbacks alone say what became of a payment; it is ahead of Postgres."""

    capabilities = Capabilities(
        methods=frozenset({"card"}),
        call_deadline_s=10,
        finality_s=10,
        inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
        reversal_by_reference=False,
        truth={OperationKind.AUTHORIZE: Truth.CALLBACK},
    )

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, call: Call, *, may_send: object) -> Declined:
        self.sent.append(call.reference)
        return Declined(DeclineCode.DO_NOT_HONOR)


class Ahead(Accounts):
    def is_ahead(self, account_id: str) -> bool:
        return True


async def test_a_second_attempt_is_sent_where_nobody_can_be_asked_first_although_the_account_is_ahead() -> (
    None
):
    missing: Any = None
    told: Any = Told()
    attempting = Attempting(
        rights=Rights(),
        claimant=missing,
        recorder=missing,
        accounts=Ahead(connectors={"account": told}),
        fail_over=FailOver(),
    )
    right = Right(call_of(PAYMENT, CREATE, reference="pay_1-2"), 2, "run_1", "account", 5.0, Clock())
    fact = await attempting._send(OperationRequest("pay_1", "pay_1", OperationKind.AUTHORIZE), right)
    assert (fact, told.sent) == (Declined(DeclineCode.DO_NOT_HONOR), ["pay_1-2"])


async def test_a_right_lapses_once_and_only_if_nobody_took_it_in_time() -> None:
    """A create that waited on after its right was over was found claimed, inquired about and failed."""
    clock, rights = Clock(), Rights()
    call = call_of(PAYMENT, CREATE, reference="pay_1-1")
    right = Right(call, 1, "run_1", "account", 5.0, clock)
    rights.grant("pay_1", right)
    assert not rights.lapse("pay_1", right)
    clock.now = 5.0
    assert rights.lapse("pay_1", right)
    assert not rights.lapse("pay_1", right)
    assert rights.take("pay_1") is None


async def test_a_right_that_was_taken_does_not_lapse() -> None:
    clock, rights = Clock(), Rights()
    right = Right(call_of(PAYMENT, CREATE, reference="pay_1-1"), 1, "run_1", "account", 5.0, clock)
    rights.grant("pay_1", right)
    assert rights.take("pay_1") is right
    clock.now = 5.0
    assert not rights.lapse("pay_1", right)
