"""Cards that Stripe keeps: what is sent, by which keys, and what an answer about them proves."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from stripe_script import (
    CONFIRM,
    CREATE,
    GET,
    METHOD,
    METHODS,
    Open,
    authorizing,
    call,
    error,
    intent,
    method,
    paid,
)

from payonce.connectors.base import Call
from payonce.connectors.conformance import yes
from payonce.connectors.conformance_saved import SAVED, saving
from payonce.domain.errors import NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import Approved, Refused
from payonce.domain.payment_methods import CredentialKind, Setup, StoredCredential
from tests.connectors.scripted import Answer

CUSTOMERS, LIST = "POST /v1/customers", "GET /v1/payment_intents"
DETACH, ENTERED = f"{METHODS}/{METHOD}/detach", f"GET /v1/payment_methods/{METHOD}"
CUSTOMER = {"id": "cus_1", "object": "customer", "livemode": False}
TOKEN = {"customer": "cus_1", "payment_method": METHOD}
KEPT = paid(**TOKEN)


def by_token(**changes: Any) -> Call:
    stored = StoredCredential(token=SAVED, credential=CredentialKind.OF_ACQUIRER)
    return call(card=None, token=TOKEN, stored=stored, **changes)


async def test_a_card_is_kept_with_a_customer_that_says_nothing_of_a_person(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(KEPT), **{CUSTOMERS: Answer(CUSTOMER)}))
    reply = await connector.send(saving(call(), Setup.ON_SESSION), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.token == TOKEN
    made, *_ = server.sent
    assert made.name == CUSTOMERS
    assert {name.partition("[")[0] for name, _ in made.form} == {"metadata"}
    sent = {one.name: dict(one.form) for one in server.sent}
    assert sent[CREATE]["customer"] == "cus_1"
    assert sent[CONFIRM]["setup_future_usage"] == "on_session"
    keys = [one.headers["idempotency-key"] for one in server.sent]
    assert len(set(keys)) == 4


async def test_one_that_is_not_to_be_kept_has_no_customer_and_no_token(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(KEPT)))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.token is None
    assert CUSTOMERS not in [one.name for one in server.sent]
    assert not {"customer", "setup_future_usage"} & {name for one in server.sent for name, _ in one.form}


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Answer({"id": "cus_1"}), NotSent),
        (Answer({**CUSTOMER, "livemode": True}), NotSent),
        (Answer(error("api_error"), status=500), NotSent),
        (Answer(error("invalid_request_error"), status=403), Rejected),
    ],
)
async def test_without_a_customer_nothing_is_sent(
    stripe: Open, answer: Answer, raised: type[Exception]
) -> None:
    connector, server = await stripe(authorizing(Answer(KEPT), **{CUSTOMERS: answer}))
    with pytest.raises(raised):
        await connector.send(saving(call()), may_send=yes)
    assert [one.name for one in server.sent] == [CUSTOMERS]


async def test_an_intent_whose_create_was_lost_is_found_with_its_customer(stripe: Open) -> None:
    script = authorizing(Answer(KEPT), **{CUSTOMERS: Answer(CUSTOMER), GET: Answer(KEPT)})
    connector, server = await stripe(script)
    await connector.send(saving(call()), may_send=yes)
    first = {one.name: one for one in server.sent}
    found = await connector.inquire(saving(call(claimed_at=datetime.now(UTC))))
    assert isinstance(found, Approved)
    assert found.token == TOKEN
    customer, create, _ = server.sent[4:]
    for again in (customer, create):
        assert again.form == first[again.name].form
        assert again.headers["idempotency-key"] == first[again.name].headers["idempotency-key"]


async def test_what_was_paid_by_a_token_is_found_by_the_list_where_its_key_does_not_fit(stripe: Open) -> None:
    other = Answer(error("idempotency_error"), status=400)
    listed = {"object": "list", "has_more": False, "data": [paid(latest_charge=None)]}
    script = {CREATE: other, LIST: Answer(listed), GET: Answer(paid())}
    connector, _ = await stripe(script)
    found = await connector.inquire(replace(by_token(claimed_at=datetime.now(UTC)), token=None))
    assert isinstance(found, Approved)


async def test_a_token_is_paid_with_by_its_customer(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    assert isinstance(await connector.send(by_token(), may_send=yes), Approved)
    create, confirm = server.sent
    assert dict(create.form)["customer"] == "cus_1"
    assert dict(confirm.form)["payment_method"] == METHOD


async def test_a_customer_that_is_gone_refuses_the_payment(stripe: Open) -> None:
    gone = error("invalid_request_error", code="resource_missing", param="customer")
    connector, server = await stripe({CREATE: Answer(gone, status=400)})
    assert isinstance(await connector.send(by_token(), may_send=yes), Refused)
    assert len(server.sent) == 1


async def test_a_token_of_another_acquirer_is_not_sent(stripe: Open) -> None:
    connector, server = await stripe({CREATE: Answer(intent())})
    with pytest.raises(Rejected):
        await connector.send(replace(by_token(), token={"token": "tok_1"}), may_send=yes)
    assert server.sent == []


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ({ENTERED: Answer(method(customer="cus_1")), DETACH: Answer(method(customer=None))}, 2),
        ({ENTERED: Answer(method(customer=None))}, 1),
        ({ENTERED: Answer(error("invalid_request_error", code="resource_missing"), status=404)}, 1),
    ],
)
async def test_a_card_is_deleted_once_it_is_with_nobody(stripe: Open, script: Any, asked: int) -> None:
    connector, server = await stripe(script)
    await connector.delete_token(TOKEN)
    assert len(server.sent) == asked


@pytest.mark.parametrize(
    "script",
    [
        {ENTERED: Answer(method(customer="cus_1")), DETACH: Answer(method(customer="cus_1"))},
        {ENTERED: Answer(method(customer="cus_1")), DETACH: Answer(error("api_error"), status=500)},
        {ENTERED: Answer(method(customer=None, id="pm_other"))},
        {ENTERED: Answer(method(customer=None, livemode=True))},
        {ENTERED: Answer(error("invalid_request_error"), status=404)},
        {ENTERED: Answer(error("invalid_request_error"), status=403)},
    ],
)
async def test_nothing_else_confirms_a_deletion(stripe: Open, script: Any) -> None:
    connector, _ = await stripe(script)
    with pytest.raises(OutcomeUnknown):
        await connector.delete_token(TOKEN)
