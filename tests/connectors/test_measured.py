"""Those who wait for an operation hear when it is the acquirer's turn; a rejection is said, whatever was asked."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
import structlog

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import yes
from payonce.connectors.measured import Calls, Measured, Whose
from payonce.domain.errors import OutcomeUnknown, Rejected, UnknownThere
from payonce.domain.facts import Approved, Inquiry, Reply, Reversed
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


class Rejecting:
    """Refuses our credentials."""

    name, capabilities = "fake", None

    async def send(self, call: Call, *, may_send: object) -> Reply:
        raise Rejected("HTTP 401")

    async def inquire(self, call: Call) -> Inquiry:
        raise Rejected("HTTP 401")

    async def reverse(self, call: Call) -> Reversed:
        raise Rejected("HTTP 401")

    async def resume(self, call: Call, parameters: object, *, leg: int, may_send: object) -> Reply:
        raise Rejected("HTTP 401")


class Forgetful:
    """Has nothing under any id of its own."""

    name, capabilities = "fake", None

    async def inquire(self, call: Call) -> Inquiry:
        raise UnknownThere("HTTP 404")


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


async def test_a_rejection_is_said_with_its_account_whatever_was_asked() -> None:
    connector = Measured("account_1", cast("Connector", cast("Any", Rejecting())), Calls())
    asked = (
        connector.send(CALL, may_send=yes),
        connector.inquire(CALL),
        connector.reverse(CALL),
        connector.resume(CALL, {}, leg=1, may_send=yes),
    )
    with structlog.testing.capture_logs() as logs:
        for asking in asked:
            with pytest.raises(Rejected):
                await asking
    said = [(log["log_level"], log["event"], log["account"], log["call"]) for log in logs]
    assert said == [
        ("error", "acquirer_rejected", "account_1", "authorize"),
        ("error", "acquirer_rejected", "account_1", "inquire"),
        ("error", "acquirer_rejected", "account_1", "reverse"),
        ("error", "acquirer_rejected", "account_1", "resume"),
    ]


async def test_a_connector_that_deletes_no_tokens_is_refused_in_words() -> None:
    """Whoever waits for the deletion asks again, and says why it does not come."""
    with pytest.raises(Rejected, match="deletes no tokens"):
        await Measured("account_1", cast("Any", Rejecting()), Calls()).delete_token({"card": "c1"})


async def test_a_token_is_deleted_at_the_connector() -> None:
    deleted: list[Mapping[str, str]] = []

    class Storing(Rejecting):
        async def delete_token(self, token: Mapping[str, str]) -> None:
            deleted.append(token)

    await Measured("account_1", cast("Any", Storing()), Calls()).delete_token({"card": "c1"})
    assert deleted == [{"card": "c1"}]


@pytest.mark.parametrize("whose", list(Whose))
async def test_what_secrets_do_not_know_says_something_where_it_is_known_whose_they_are(whose: Whose) -> None:
    """Others may be put in their place between a list and a question about what it lacks."""
    connector = Measured(
        "account_1", cast("Connector", cast("Any", Forgetful())), Calls(), whose=Whose.PINNED
    )
    connector.whose = whose
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.inquire(CALL)
    assert isinstance(raised.value, UnknownThere) is whose.proves
