"""Razorpay's connector in the suites of those that get their outcome at once: its cardholders answer at once."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from razorpay_answered import AnsweredHarness
from wire_server import Serve

from payonce.connectors.conformance import (
    AFTER,
    ConnectorConformance,
    Fault,
    TurnsConformance,
    authorization,
    eventually,
    following,
    yes,
)
from payonce.connectors.conformance_truth import ReplayConformance
from payonce.connectors.conformance_wire import WireConformance
from payonce.domain import rail
from payonce.domain.facts import Accepted, Approved, Declined, Stage
from payonce.domain.operations import OperationKind

SENT = (OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.REFUND)  # a release is not


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[AnsweredHarness]:
    made = AnsweredHarness("card", url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


class TestRazorpayAnswered(ConnectorConformance, WireConformance, ReplayConformance):
    """A capture is of all. Of a release there is no request that could fail.

    No payment has a key: one that was sent is never sent again, and a second one of its order is another payment.
    """

    test_the_same_attempt_sends_the_same_keys_and_another_one_never = None
    test_several_captures_and_refunds_of_a_part = None

    @pytest.mark.parametrize("kind", SENT)
    async def test_without_the_right_nothing_is_sent(
        self, harness: AnsweredHarness, kind: OperationKind
    ) -> None:
        await super().test_without_the_right_nothing_is_sent(harness, kind)

    @pytest.mark.parametrize("fault", AFTER)
    @pytest.mark.parametrize("kind", SENT)
    async def test_a_failure_after_the_movement_is_unknown_and_found(
        self, harness: AnsweredHarness, kind: OperationKind, fault: Fault
    ) -> None:
        await super().test_a_failure_after_the_movement_is_unknown_and_found(harness, kind, fault)

    @pytest.mark.parametrize("kind", SENT)
    async def test_a_timeout_before_the_movement_is_unknown_and_not_found(
        self, harness: AnsweredHarness, kind: OperationKind
    ) -> None:
        await super().test_a_timeout_before_the_movement_is_unknown_and_not_found(harness, kind)


class TestRazorpayTurns(TurnsConformance):
    """Razorpay takes no capture back, and a refund that it processed is final.

    What is captured says so, whoever captured it: Razorpay keeps no mark, and payonce knows its own by its name.
    """

    test_what_the_acquirer_takes_back_is_told_with_an_id_of_its_own = None
    test_what_is_only_authorized_says_so_and_is_captured_when_it_is_asked_for = None

    @pytest.mark.parametrize("kind", SENT)
    async def test_data_that_is_refused_for_ever_is_a_value_and_nothing_moves(
        self, harness: AnsweredHarness, kind: OperationKind
    ) -> None:
        await super().test_data_that_is_refused_for_ever_is_a_value_and_nothing_moves(harness, kind)


async def test_an_automatic_payment_that_is_only_authorized_is_captured_by_ours(
    harness: AnsweredHarness,
) -> None:
    connector = harness.open()
    sound = replace(authorization(harness), automatic_capture=True)
    call = replace(sound, metadata={"sandbox_fault": "authorized_only"})
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.stage is Stage.AUTHORIZED
    capture = replace(
        following(call, OperationKind.CAPTURE), authorization_reference=reply.connector_reference
    )
    captured = await connector.send(capture, may_send=yes)
    assert isinstance(captured, Approved)
    assert captured.connector_reference == f"{reply.connector_reference}/captured"
    assert await connector.inquire(capture) == captured
    found = await connector.inquire(replace(call, approved=True))
    assert isinstance(found, Approved)
    assert found.stage is Stage.CAPTURED
    assert rail.as_foreign(found).id == captured.connector_reference  # by which the books know it is ours
    assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]


async def test_a_refund_that_fails_after_it_was_accepted_is_declined(harness: AnsweredHarness) -> None:
    connector = harness.open()
    call = replace(authorization(harness), automatic_capture=True)
    paid = await connector.send(call, may_send=yes)
    assert isinstance(paid, Approved)
    refund = replace(
        following(call, OperationKind.REFUND),
        authorization_reference=paid.connector_reference,
        operation_metadata={"sandbox_fault": "refund:undo_refund:1"},
    )
    accepted = await connector.send(refund, may_send=yes)
    assert isinstance(accepted, Accepted)
    known = replace(refund, attempt_reference=accepted.connector_reference)

    async def failed() -> Declined | None:
        found = await connector.inquire(known)
        return found if isinstance(found, Declined) else None

    assert (await eventually(failed)).connector_reference == accepted.connector_reference
