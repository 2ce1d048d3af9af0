"""What the sandbox acquirer does by itself, as its connectors tell it; and what it refuses for ever."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from wire_server import Serve, answer, writing

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import following, yes
from payonce.connectors.sandbox.answers import TURNS_MAX
from payonce.connectors.sandbox.card import SandboxCard
from payonce.connectors.sandbox.switches import parse_faults
from payonce.domain.cards import Card
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Foreign, Redone, Refused, Undone
from payonce.domain.operations import OperationKind
from tests.support.eventually import eventually

CARD = Card(number="4242424242424242", exp_month=12, exp_year=2030, cvc="737")


@pytest.fixture
async def connector(acquirer_url: str) -> AsyncIterator[Connector]:
    opened = SandboxCard(account(acquirer_url))
    yield opened
    await opened.close()


def account(url: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="a", connector="sandbox_card", mode="test", base_url=url, key="sandbox-acquirer-key"
    )


def paying(fault: str, *, automatic: bool = True) -> Call:
    """An authorization in whose payment's metadata this fault stands."""
    payment_id = f"pay_turns{secrets.token_hex(10)}"
    return Call(
        kind=OperationKind.AUTHORIZE,
        reference=f"{payment_id}-1",
        payment_id=payment_id,
        operation_id=payment_id,
        amount_minor=1000,
        currency="INR",
        automatic_capture=automatic,
        card=CARD,
        metadata={"sandbox_fault": fault},
    )


def then(kind: OperationKind, call: Call, reply: object) -> Call:
    """A capture or refund of what was authorized so."""
    assert isinstance(reply, Approved)
    return replace(following(call, kind), authorization_reference=reply.connector_reference)


async def turns(connector: Connector, call: Call, count: int) -> list[str]:
    """Kinds of what became of it since, once there are so many."""

    async def there() -> list[str]:
        found = await connector.inquire(call)
        assert isinstance(found, Approved)
        assert len(found.since) == count, found
        return [turn.kind for turn in found.since]

    return await eventually(there, 20.0)


async def test_what_is_taken_back_and_done_again_is_told_in_order(connector: Connector) -> None:
    call = paying("undo_capture:0,redo_capture:0,undo_capture:0")
    await connector.send(call, may_send=yes)
    assert await turns(connector, call, 3) == ["undone", "redone", "undone"]
    found = await connector.inquire(call)
    assert isinstance(found, Approved)
    first, second, third = found.since
    assert isinstance(first, Undone)
    assert isinstance(second, Redone)
    assert (first.amount_minor, second.amount_minor) == (call.amount_minor, call.amount_minor)
    assert (first.currency, first.reason) == ("INR", "rejected_by_scheme")
    assert len({first.id, second.id, third.id}) == 3


async def test_what_others_refund_is_told_of_the_authorization(connector: Connector) -> None:
    call = paying("foreign_refund:1700")
    await connector.send(call, may_send=yes)
    assert await turns(connector, call, 1) == ["foreign"]
    found = await connector.inquire(call)
    assert isinstance(found, Approved)
    (turn,) = found.since
    assert isinstance(turn, Foreign)
    assert (turn.what, turn.amount_minor) == ("refund", 1700)


@pytest.mark.parametrize("fault", ["undo_capture:0", "capture:undo_capture:0"])
async def test_an_undoing_is_of_what_captures(connector: Connector, fault: str) -> None:
    call = paying(fault, automatic=False)
    capture = then(OperationKind.CAPTURE, call, await connector.send(call, may_send=yes))
    await connector.send(capture, may_send=yes)
    assert await turns(connector, capture, 1) == ["undone"]
    found = await connector.inquire(call)
    assert isinstance(found, Approved)
    assert found.since == ()


@pytest.mark.parametrize("fault", ["undo_refund:0", "refund:undo_refund:0"])
async def test_an_undoing_of_a_refund_may_stand_in_its_payment(connector: Connector, fault: str) -> None:
    call = paying(fault)
    refund = then(OperationKind.REFUND, call, await connector.send(call, may_send=yes))
    await connector.send(refund, may_send=yes)
    assert await turns(connector, refund, 1) == ["undone"]


async def test_a_member_that_is_refused_for_ever_is_a_fact(connector: Connector) -> None:
    call = paying("refuse:/payment_method/card/number")
    assert await connector.send(call, may_send=yes) == Refused("refused", "/payment_method/card/number")


@pytest.mark.parametrize(
    ("pointer", "shown"),
    [
        ('"/card/number"', "/card/number"),
        ('"/4242424242424242"', None),
        ("null", None),
        ('"/' + "a" * 99 + '"', None),
    ],
)
async def test_a_pointer_is_shown_only_where_it_can_name_a_member(
    serve: Serve, pointer: str, shown: str | None
) -> None:
    body = f'{{"error": "refused", "pointer": {pointer}, "detail": "x"}}'.encode()
    server = await serve(writing(answer(body, status="400 Bad Request")))
    connector = SandboxCard(account(server.url))
    assert await connector.send(paying("slow:1"), may_send=yes) == Refused("refused", shown)
    await connector.close()


@pytest.mark.parametrize("body", [b"{}", b"<html>"])
async def test_a_400_that_cannot_be_read_is_no_fact(serve: Serve, body: bytes) -> None:
    server = await serve(writing(answer(body, status="400 Bad Request")))
    connector = SandboxCard(account(server.url))
    with pytest.raises(OutcomeUnknown):
        await connector.send(paying("slow:1"), may_send=yes)
    await connector.close()


@pytest.mark.parametrize("ask", ["inquire", "reverse"])
async def test_a_400_of_an_inquiry_or_a_reversal_says_nothing(serve: Serve, ask: str) -> None:
    server = await serve(writing(answer(b'{"error": "refused", "pointer": null}', status="400 Bad Request")))
    connector = SandboxCard(account(server.url))
    with pytest.raises(OutcomeUnknown):
        await getattr(connector, ask)(paying("slow:1"))
    await connector.close()


async def test_more_turns_than_can_be_read_are_no_answer(serve: Serve) -> None:
    call = paying("slow:1")
    turn = '{"id": "t", "type": "undone", "operation": "capture", "amount": 1, "currency": "INR"}'
    history = ",".join([turn] * (TURNS_MAX + 1))
    body = (
        f'{{"id": "auth_1", "reference": "{call.reference}", "operation": "authorize", "status": "approved",'
        f' "amount": 1000, "currency": "INR", "stage": "captured", "history": [{history}]}}'
    )
    server = await serve(writing(answer(body.encode())))
    connector = SandboxCard(account(server.url))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call)
    await connector.close()


@pytest.mark.parametrize(
    "fault",
    [
        *("authorized_only", "foreign_capture", "undo_capture:0", "undo_capture:86400", "redo_capture:3"),
        *("undo_refund:2", "foreign_refund:1", "foreign_refund:9007199254740991", "refuse:/amount"),
        *("refuse:/lines/0/name", "refund:undo_refund:1", "cancel:slow:5"),
    ],
)
def test_a_fault_that_exists_is_taken(fault: str) -> None:
    assert parse_faults(fault) == (fault,)


@pytest.mark.parametrize(
    "fault",
    [
        *("undo_capture", "undo_capture:", "undo_capture:86401", "undo_capture:-1", "undo_void:1"),
        *(
            "foreign_refund:0",
            "foreign_refund:9007199254740992",
            "foreign_capture:1",
            "refuse:",
            "refuse:amount",
        ),
        *("refuse:/4242424242424242", "authorized_only:1", "redo_refund:1"),
    ],
)
def test_a_fault_that_does_not_exist_is_refused(fault: str) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        parse_faults(fault)
