"""Payloads are not walked where nobody would change them, and are where somebody does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.bridge._visitor import PayloadVisitor
from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.testing import WorkflowEnvironment

from tests.workflows.rig import Bench
from workers import visits
from workers.converter import data_converter

WALKS_OF_A_TASK = 6


@pytest.fixture(autouse=True)
def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was walked; the SDK's own ways are back after the test."""
    for owner, name, _ in visits._INSTEAD:
        monkeypatch.setattr(owner, name, vars(owner)[name])
    walked: list[object] = []
    visit = PayloadVisitor.visit

    async def counted(visitor: PayloadVisitor, change: object, message: object) -> None:
        walked.append(message)
        await visit(visitor, change, message)  # type: ignore[arg-type]

    monkeypatch.setattr(PayloadVisitor, "visit", counted)
    return walked


async def _paid(bench: Bench) -> list[str]:
    """The types of the events of a payment that was captured at once."""
    bench.fakes.script("authorize", await bench.settled("captured", 2))
    async with bench.worker():
        handle = await bench.start_payment()
        assert await handle.result() == "captured"
    return [str(event.event_type) for event in (await handle.fetch_history()).events]


async def test_the_sdk_walks_a_payments_payloads_for_nothing_and_we_do_not(
    time_skipping: WorkflowEnvironment, walks: list[object]
) -> None:
    """The first half says when the SDK has mended it itself: `workers/visits.py` can go then."""
    as_the_sdk_does = await _paid(Bench(time_skipping))
    assert (
        len(walks) >= 2 * WALKS_OF_A_TASK
    )  # the task that starts the activity, and the one that ends the workflow
    walks.clear()
    visits.leave_out()
    assert await _paid(Bench(time_skipping)) == as_the_sdk_does
    assert walks == []


class Turned(PayloadCodec):
    """Each payload's bytes, last first."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(
                metadata={"encoding": b"turned", "of": payload.metadata["encoding"]}, data=payload.data[::-1]
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": each.metadata["of"]}, data=each.data[::-1]) for each in payloads
        ]


async def test_a_converter_with_a_codec_has_every_payload_changed(
    time_skipping: WorkflowEnvironment, walks: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    visits.leave_out()
    config = time_skipping.client.config()
    turning = Client(**{**config, "data_converter": replace(data_converter, payload_codec=Turned())})
    monkeypatch.setattr(time_skipping, "_client", turning)
    await _paid(Bench(time_skipping))
    assert len(walks) >= 2 * WALKS_OF_A_TASK
