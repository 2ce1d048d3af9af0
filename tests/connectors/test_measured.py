"""Those who wait for an operation hear when it is the acquirer's turn."""

from typing import Any, cast

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import yes
from payonce.connectors.measured import Calls, Measured
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Reply
from payonce.domain.operations import OperationKind

CALL = Call(
    kind=OperationKind.AUTHORIZE,
    reference="ref_1",
    payment_id="pay_1",
    amount_minor=1,
    currency="INR",
    operation_id="op_1",
)


class Acquirer:
    """Answers as told, and remembers what its watcher had heard by then."""

    name, capabilities = "fake", None

    def __init__(self, watcher: "Watcher", *, fails: bool = False) -> None:
        self._watcher, self._fails = watcher, fails
        self.heard_before: list[str] = []

    async def send(self, call: Call, *, may_send: object) -> Reply:
        self.heard_before = list(self._watcher.heard)
        if self._fails:
            raise OutcomeUnknown("lost")
        return Approved(amount_minor=call.amount_minor, currency=call.currency, connector_reference="x")


class Watcher:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def call_begun(self) -> None:
        self.heard.append("begun")

    def call_ended(self) -> None:
        self.heard.append("ended")


def measured(acquirer: Acquirer, calls: Calls) -> Measured:
    return Measured("account_1", cast("Connector", cast("Any", acquirer)), calls)


async def test_a_watcher_hears_of_a_call_and_of_its_end() -> None:
    watcher, calls = Watcher(), Calls()
    acquirer = Acquirer(watcher)
    with calls.watched("op_1", watcher):
        await measured(acquirer, calls).send(CALL, may_send=yes)
    assert acquirer.heard_before == ["begun"]
    assert watcher.heard == ["begun", "ended"]


async def test_a_watcher_hears_of_the_end_of_a_call_that_failed() -> None:
    watcher, calls = Watcher(), Calls()
    with calls.watched("op_1", watcher), pytest.raises(OutcomeUnknown):
        await measured(Acquirer(watcher, fails=True), calls).send(CALL, may_send=yes)
    assert watcher.heard == ["begun", "ended"]


async def test_a_watcher_hears_nothing_of_other_operations_nor_afterwards() -> None:
    watcher, calls = Watcher(), Calls()
    with calls.watched("op_2", watcher):
        await measured(Acquirer(watcher), calls).send(CALL, may_send=yes)
    with calls.watched("op_1", watcher):
        pass
    await measured(Acquirer(watcher), calls).send(CALL, may_send=yes)
    assert watcher.heard == []
