"""What is not found at Stripe is sent again; and a connector that says so and does not do so fails the suite."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dialect_side import StripeHarness
from stripe_script import CANCEL, CAPTURE, GET, LIST_REFUNDS, REFUNDS, Open, call, held, listed
from wire_server import Serve

from payonce.connectors.base import Connector
from payonce.connectors.conformance import yes
from payonce.connectors.conformance_truth import WINDOW_S_MIN, ReplayConformance
from payonce.connectors.keys import UpstreamKeys
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import NotKnown
from payonce.domain.operations import OperationKind
from payonce.domain.truth import Truth, closes_early
from tests.connectors.scripted import Answer

K = OperationKind
SUITE = ReplayConformance()


class Misfit(StripeHarness):
    """Whose connector declares something else."""

    declares: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed

    def open_at(self, url: str, **options: Any) -> Connector:
        connector = super().open_at(url, **options)
        connector.capabilities = replace(connector.capabilities, **self.declares)
        return connector


@pytest.fixture
async def misfit(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[Misfit]:
    made = Misfit(url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


async def test_captures_voids_and_refunds_are_sent_again_for_20_hours(stripe: Open) -> None:
    connector, _ = await stripe({})
    capabilities = connector.capabilities
    assert capabilities.replays_not_found == {K.CAPTURE, K.VOID, K.REFUND}
    window_s = capabilities.idempotent_replay_s
    assert window_s - closes_early(window_s).total_seconds() == 20 * 3600
    assert capabilities.reversible(K.AUTHORIZE)


@pytest.mark.parametrize(
    "declares",
    [
        {"idempotent_replay_s": WINDOW_S_MIN - 1},
        {"idempotent_replay_s": 0.0},
        {"replays_not_found": frozenset()},
        {"replays_not_found": frozenset({K.AUTHORIZE}), "reverses": frozenset()},
        {"truth": {K.REFUND: Truth.CALLBACK}},
        {"reverses": frozenset({K.CAPTURE})},
    ],
    ids=str,
)
async def test_what_does_not_fit_together_fails(misfit: Misfit, declares: dict[str, Any]) -> None:
    await SUITE.test_what_it_declares_fits_together(misfit)
    misfit.declares = declares
    with pytest.raises(AssertionError):
        await SUITE.test_what_it_declares_fits_together(misfit)


async def test_one_that_sends_another_key_the_second_time_fails(
    misfit: Misfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    misfit.declares = {"replays_not_found": frozenset({K.REFUND})}
    await SUITE.test_what_is_sent_again_is_answered_as_at_first(misfit)
    monkeypatch.setattr(UpstreamKeys, "key", lambda *_, **__: uuid4().hex)
    with pytest.raises(AssertionError):
        await SUITE.test_what_is_sent_again_is_answered_as_at_first(misfit)


NOT_CAPTURED = Answer(held())
LOST = {
    K.CAPTURE: (CAPTURE, {GET: NOT_CAPTURED}),
    K.VOID: (CANCEL, {GET: NOT_CAPTURED}),
    K.REFUND: (REFUNDS, {LIST_REFUNDS: Answer(listed())}),
}


@pytest.mark.parametrize("kind", LOST)
async def test_what_was_lost_and_is_not_found_is_the_same_request_again(
    stripe: Open, kind: OperationKind
) -> None:
    path, script = LOST[kind]
    connector, server = await stripe({path: Answer(status=500, body={"error": {}}), **script})
    asked = call(kind)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await connector.send(asked, may_send=yes)
        assert await connector.inquire(asked) == NotKnown()
    first, again = server.of(path)
    assert (again.form, again.key) == (first.form, first.key)
