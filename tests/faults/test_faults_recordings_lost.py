"""Postgres forgets what was recorded, as a fail-over or a restore makes it; Temporal says that it is done.

A payment must not hang for ever between the two: what the acquirer did is found again, and done once.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection
from temporalio.client import Client, WorkflowExecutionStatus

from devstack.postgres import server_url
from devstack.stack import DevStack
from payonce.domain.operations import OperationKind
from payonce.runtime import open_runtime
from payonce.settings import Settings
from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, CAPTURE, DEEDS, MANUAL, REFUND, VOID, Asked, Deed
from tests.faults.shop import Json, Shop, open_shop
from tests.support.asking import is_definite
from tests.support.eventually import eventually
from tests.support.servers import running
from tests.support.witness import Witness, witness_of
from workers.sweeper import Sweeper
from workers.temporal import connect

COMPLETED, RUNNING = WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.RUNNING
NO_SWEEPER = ("postgres", "redis", "temporal", "acquirer", "api")  # but the test's own
PART = replace(CAPTURE, name="part", moves=["capture"], members={"amount": 400, "final": False})
ON_CLOSED = (AUTOMATIC, CAPTURE, VOID, REFUND)
ON_OPEN = (MANUAL, PART)
BY_CHANGE = pytest.mark.parametrize("deed", [REFUND, CAPTURE, PART, VOID], ids=lambda deed: deed.name)
BY_NAME = pytest.mark.parametrize("deed", [*ON_CLOSED, *ON_OPEN], ids=lambda deed: deed.name)

# The columns that recording writes. What is not said of a payment is NULL.
_BEGUN = {
    "status": "init",
    "sequence": 0,
    "amount_authorized_minor": 0,
    "amount_captured_minor": 0,
    "amount_refunded_minor": 0,
    "amount_refund_pending_minor": 0,
}
_FORGET = """
    WITH forgotten AS (
        SELECT id FROM events WHERE payment_id = %(payment_id)s AND sequence > %(sequence)s
    ), undelivered AS (
        DELETE FROM webhook_deliveries WHERE event_id IN (SELECT id FROM forgotten)
    ), unwritten AS (
        DELETE FROM events WHERE id IN (SELECT id FROM forgotten)
    ), unanswered AS (
        UPDATE idempotency_keys SET answered_at = NULL, answer_kind = NULL, answer_body = NULL
         WHERE operation_id = %(operation_id)s
    ), claimed AS (
        UPDATE attempts SET state = 'claimed', connector_reference = NULL, send_before = now() - interval '1 min'
         WHERE operation_id = %(operation_id)s
    ), pending AS (
        UPDATE operations SET status = 'pending', connector_reference = NULL, deferred_at = NULL, sweep_at = now()
         WHERE id = %(operation_id)s
    )
    UPDATE payments
       SET status = before.status, sequence = before.sequence, connector_reference = before.connector_reference,
           amount_authorized_minor = before.amount_authorized_minor,
           amount_captured_minor = before.amount_captured_minor,
           amount_refunded_minor = before.amount_refunded_minor,
           amount_refund_pending_minor = before.amount_refund_pending_minor,
           capture_before = before.capture_before, pending_operation = before.pending_operation
      FROM json_populate_record(NULL::payments, %(before)s) AS before
     WHERE payments.id = %(payment_id)s
"""


@dataclass(frozen=True)
class Scene:
    """A shop, the servers behind it, and a sweeper that runs when the test says so."""

    shop: Shop
    postgres: AsyncConnection
    temporal: Client
    sweeper: Sweeper
    ledger: Witness

    async def row(self, payment_id: str) -> Json:
        """The payment's row now."""
        query = "SELECT row_to_json(payments) FROM payments WHERE id = %s"
        (row,) = await self._one(query, payment_id)
        return dict(row)

    async def operation(self, asked: Asked) -> tuple[str, OperationKind]:
        query = """
            SELECT operations.id, operations.kind FROM operations
              JOIN idempotency_keys ON operations.id = operation_id WHERE key = %s
        """
        id_, kind = await self._one(query, asked.key)
        return id_, OperationKind(kind)

    async def forget(self, asked: Asked, before: Json) -> None:
        """All that recording wrote of the operation is gone; what admission and the claim wrote is there."""
        operation_id, _ = await self.operation(asked)
        values = {
            "payment_id": asked.payment_id,
            "operation_id": operation_id,
            "sequence": before["sequence"],
            "before": json.dumps(before),
        }
        await self.postgres.execute(_FORGET, values)

    async def forget_altogether(self, payment_id: str) -> None:
        """Nothing of the payment was ever here, nor of its key."""
        for table, column in (
            ("events", "payment_id"),
            ("attempts", "operation_id"),
            ("idempotency_keys", "operation_id"),
            ("operations", "payment_id"),
            ("payments", "id"),
        ):
            await self.postgres.execute(f"DELETE FROM {table} WHERE {column} = %s", [payment_id])

    async def look(self, operation: tuple[str, OperationKind]) -> None:
        """The sweeper looks at the operation, and not for the first time."""
        id_, kind = operation
        query = "UPDATE operations SET sweep_at = now(), sweeps = greatest(sweeps, 1) WHERE id = %s"
        await self.postgres.execute(query, [id_])
        await self.sweeper.sweep(kind)

    async def latest_run(self, workflow_id: str) -> str | None:
        """The id of the workflow's latest run."""
        return (await self.temporal.get_workflow_handle(workflow_id).describe()).run_id

    async def _one(self, query: str, *values: Any) -> Any:
        found = await (await self.postgres.execute(query, values)).fetchone()
        assert found is not None
        return found


@pytest.fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with running(*NO_SWEEPER) as stack:
        url = server_url(stack.port("postgres"), "payonce")
        async with (
            open_shop(stack) as shop,
            witness_of(stack.acquirer_url) as ledger,
            await AsyncConnection.connect(url, autocommit=True) as postgres,
            open_runtime(settings_of(stack)) as runtime,
        ):
            temporal = await connect(runtime.settings)
            sweeper = Sweeper(runtime, temporal, behind_for=timedelta(0))
            yield Scene(shop, postgres, temporal, sweeper, ledger)


def settings_of(stack: DevStack) -> Settings:
    """Those of the product's processes, as far as a sweeper needs them."""
    environ = stack.product_environ()
    names = ("database_url", "redis_url", "temporal_address", "derivation_key")
    return Settings.model_validate({name: environ[f"PAYONCE_{name.upper()}"] for name in names})


async def before_recording(scene: Scene, asked: Asked) -> Json:
    """The payment's row as admission will leave it."""
    if not asked.deed.path:
        return _BEGUN
    row = await scene.row(asked.payment_id)
    if asked.deed.kind == "refund":
        return {**row, "amount_refund_pending_minor": asked.body["amount"]}
    return row


async def lost(scene: Scene, deed: Deed) -> Asked:
    """The deed is done, at the acquirer and for Temporal, and Postgres has forgotten it."""
    asked = await deed.prepare(scene.shop)
    before = await before_recording(scene, asked)
    response = await asked.answered(scene.shop)
    assert response.status_code == deed.status
    operation_id, kind = await scene.operation(asked)
    workflow_id = operation_id if deed is REFUND else asked.payment_id

    async def ended() -> bool:
        described = await scene.temporal.get_workflow_handle(workflow_id).describe()
        return described.status is (COMPLETED if deed in ON_CLOSED else RUNNING)

    await eventually(ended)
    if kind.exclusive:
        amount = asked.body.get("amount", before["amount_authorized_minor"])
        before["pending_operation"] = {"id": operation_id, "type": kind, "amount": amount}
    await scene.forget(asked, before)
    return asked


@BY_NAME
async def test_what_postgres_forgot_is_found_again_at_the_acquirer_and_done_once(
    scene: Scene, deed: Deed
) -> None:
    asked = await lost(scene, deed)
    again = await asked.send(scene.shop)
    assert again is not None
    assert not is_definite(again), again.text
    operation = await scene.operation(asked)
    for _ in range(2):
        await scene.look(operation)
    response = await asked.answered(scene.shop)
    asked.check_done(response, await at_rest(scene.shop, scene.ledger, asked.payment_id))


def test_every_deed_is_forgotten_once() -> None:
    assert {deed.name for deed in DEEDS} <= {deed.name for deed in (*ON_CLOSED, *ON_OPEN)}


async def test_a_disagreement_seen_once_proves_nothing(scene: Scene) -> None:
    """It may be that the outcome is just being recorded; and what has been recorded by then is left alone."""
    asked = await lost(scene, AUTOMATIC)
    operation, first_run = await scene.operation(asked), await scene.latest_run(asked.payment_id)
    await scene.look(operation)
    assert await scene.latest_run(asked.payment_id) == first_run
    await scene.look(operation)
    second_run = await scene.latest_run(asked.payment_id)
    assert second_run != first_run
    await asked.answered(scene.shop)
    for _ in range(2):
        await scene.look(operation)
    assert await scene.latest_run(asked.payment_id) == second_run


async def test_an_authorization_whose_void_postgres_forgot_altogether_is_looked_after_again(
    scene: Scene,
) -> None:
    """Restored to before the void was admitted: nothing is pending, and nothing would ever end it."""
    asked = await lost(scene, VOID)
    for table, column in (
        ("attempts", "operation_id"),
        ("operations", "id"),
        ("idempotency_keys", "operation_id"),
    ):
        await scene.postgres.execute(
            f"DELETE FROM {table} WHERE {column} IN"
            " (SELECT pending_operation->>'id' FROM payments WHERE id = %s)",
            [asked.payment_id],
        )
    await scene.postgres.execute(
        "UPDATE payments SET pending_operation = NULL, updated_at = now() - interval '1 min' WHERE id = %s",
        [asked.payment_id],
    )
    first_run = await scene.latest_run(asked.payment_id)
    await scene.sweeper.sweep_payments()
    assert await scene.latest_run(asked.payment_id) == first_run
    await scene.sweeper.sweep_payments()
    assert await scene.latest_run(asked.payment_id) != first_run
    assert (await scene.temporal.get_workflow_handle(asked.payment_id).describe()).status is RUNNING


@pytest.fixture
async def forgetful(scene: Scene) -> AsyncIterator[Scene]:
    """The acquirer moves money each time it is asked, under whatever reference."""
    await scene.ledger.configure(idempotency="ignored")
    yield scene
    await scene.ledger.configure(idempotency="honoured")


@BY_CHANGE
async def test_what_postgres_forgot_together_with_its_claim_is_done_once(
    forgetful: Scene, deed: Deed
) -> None:
    """The claim protects nothing then: only that the run inquires before it sends."""
    asked = await lost(forgetful, deed)
    operation = await forgetful.operation(asked)
    await forgetful.postgres.execute("DELETE FROM attempts WHERE operation_id = %s", [operation[0]])
    for _ in range(2):
        await forgetful.look(operation)
    response = await asked.answered(forgetful.shop)
    asked.check_done(response, await at_rest(forgetful.shop, forgetful.ledger, asked.payment_id))


@BY_CHANGE
async def test_what_postgres_forgot_altogether_is_done_once_when_its_key_is_retried(
    forgetful: Scene, deed: Deed
) -> None:
    """Restored to before its admission: Temporal knows its id, and what an update of this id has ended with."""
    asked = await lost(forgetful, deed)
    operation_id, _ = await forgetful.operation(asked)
    for table, column in (
        ("attempts", "operation_id"),
        ("idempotency_keys", "operation_id"),
        ("operations", "id"),
    ):
        await forgetful.postgres.execute(f"DELETE FROM {table} WHERE {column} = %s", [operation_id])
    await forgetful.postgres.execute(
        "UPDATE payments SET pending_operation = NULL, amount_refund_pending_minor = 0 WHERE id = %s",
        [asked.payment_id],
    )
    response = await asked.answered(forgetful.shop)
    asked.check_done(response, await at_rest(forgetful.shop, forgetful.ledger, asked.payment_id))


async def test_a_create_that_postgres_forgot_altogether_is_done_once_though_its_workflow_ended_badly(
    scene: Scene,
) -> None:
    """As a run does that looks for what is forgotten; it says nothing of what was sent before."""
    asked = await MANUAL.prepare(scene.shop)
    await asked.answered(scene.shop)
    await scene.temporal.get_workflow_handle(asked.payment_id).terminate()
    await scene.forget_altogether(asked.payment_id)
    response = await asked.answered(scene.shop)
    asked.check_done(response, await at_rest(scene.shop, scene.ledger, asked.payment_id))
