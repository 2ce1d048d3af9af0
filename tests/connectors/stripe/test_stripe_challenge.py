"""Customers who are sent to their issuer's page by Stripe: asked, come back, given up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import (
    CANCEL,
    CONFIRM,
    GET,
    INTENT,
    Open,
    authorizing,
    call,
    card_error,
    charge,
    held,
    intent,
    paid,
)

from payonce.connectors.conformance import yes
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Inquiry,
    Pending,
    Refused,
    Reversed,
    Stage,
)
from payonce.domain.sca import HandedIn, Sca
from tests.connectors.scripted import Answer

PAGE = "https://hooks.stripe.com/3d_secure/page"
BY_ID = {"attempt_reference": INTENT}
UNKNOWN_HTML = Answer(raw=b"<html>oops</html>", status=502)


def asking(url: str = PAGE, **changes: Any) -> dict[str, Any]:
    """An intent whose customer is to go there."""
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": "https://x.example"}}
    return intent("requires_action", next_action=action, **changes)


def asked(url: str = PAGE) -> ActionRequired:
    """Until 15 minutes after the intent was made, whenever it is looked at."""
    ends = datetime.fromtimestamp(asking()["created"], UTC) + timedelta(minutes=15)
    return ActionRequired(INTENT, {"type": "redirect", "url": url, "sandbox_url": url}, ends)


async def test_who_must_authenticate_is_sent_to_the_issuers_page_and_comes_back_to_ours(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(asking())))
    reply = await connector.send(call(return_url="https://pay.example/v1/returns/x"), may_send=yes)
    assert reply == asked()
    assert server.of(CONFIRM)[0].members["return_url"] == "https://pay.example/v1/returns/x"
    assert not server.of(CANCEL)


async def test_an_inquiry_says_the_same_and_moves_no_end(stripe: Open) -> None:
    connector, _ = await stripe({GET: Answer(asking())})
    for _again in range(2):
        assert await connector.inquire(call(**BY_ID)) == asked()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://x.example/a b", "https://" + "a" * 2_100])
async def test_an_address_that_is_none_is_no_answer(stripe: Open, url: str) -> None:
    connector, _ = await stripe(authorizing(Answer(asking(url))))
    with pytest.raises(OutcomeUnknown):
        await connector.send(call(), may_send=yes)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (intent("requires_payment_method"), None),
        (
            intent(
                "requires_payment_method",
                last_payment_error={
                    "type": "invalid_request_error",
                    "code": "payment_intent_authentication_failure",
                },
            ),
            DeclineCode.AUTHENTICATION_FAILED,
        ),
    ],
    ids=["nothing told", "failed"],
)
async def test_who_fails_is_declined(
    stripe: Open, found: dict[str, Any], expected: DeclineCode | None
) -> None:
    connector, _ = await stripe({GET: Answer(found)})
    fact = await connector.inquire(call(**BY_ID))
    if expected is None:
        assert not isinstance(fact, Approved | Declined)
    else:
        assert isinstance(fact, Declined)
        assert fact.code is expected


FAILED = intent(
    "requires_payment_method",
    last_payment_error={"type": "invalid_request_error", "code": "payment_intent_authentication_failure"},
)
CHALLENGED = {**BY_ID, "asked": True}


def closed(**changes: Any) -> dict[str, Any]:
    return {**FAILED, "status": "canceled", "cancellation_reason": "abandoned", **changes}


@pytest.mark.parametrize("verb", ["inquire", "cancel"])
async def test_who_failed_at_the_issuers_page_cannot_confirm_again(stripe: Open, verb: str) -> None:
    """The address that led them back had the intent's secret in it."""
    connector, server = await stripe({GET: Answer(FAILED), CANCEL: Answer(closed())})
    fact = await getattr(connector, verb)(call(**CHALLENGED))
    assert isinstance(fact, Declined)
    assert fact.code is DeclineCode.AUTHENTICATION_FAILED
    assert [sent.members["cancellation_reason"] for sent in server.of(CANCEL)] == ["abandoned"]


async def test_who_confirmed_again_before_that_has_paid(stripe: Open) -> None:
    """Nothing is said to have failed that cannot be cancelled."""
    gone = Answer({"error": {"type": "invalid_request_error", "code": "x", "message": "x"}}, status=400)
    connector, server = await stripe({GET: [Answer(FAILED), Answer(paid())], CANCEL: gone})
    assert isinstance(await connector.inquire(call(**CHALLENGED)), Pending)
    assert isinstance(await connector.inquire(call(**CHALLENGED)), Approved)
    assert len(server.of(CANCEL)) == 1


async def test_what_they_authorized_before_that_is_let_go(stripe: Open) -> None:
    released = closed(last_payment_error=None, latest_charge=charge(amount_captured=0))
    connector, _ = await stripe({GET: [Answer(FAILED), Answer(released)], CANCEL: Answer(released)})
    for expected in (Declined, Reversed):  # the second time a webhook tells of the charge
        found = await connector.inquire(call(automatic_capture=False, **CHALLENGED))
        assert isinstance(found, expected)


async def test_a_decline_that_was_cancelled_is_the_same_one_afterwards(stripe: Open) -> None:
    """The process that cancelled it may have died before it recorded that."""
    connector, server = await stripe({GET: Answer(closed())})
    fact = await connector.inquire(call(**CHALLENGED))
    assert isinstance(fact, Declined)
    assert fact.code is DeclineCode.AUTHENTICATION_FAILED
    assert not server.of(CANCEL)


async def test_an_intent_whose_secret_nobody_has_is_left_as_it_is(stripe: Open) -> None:
    connector, server = await stripe({GET: Answer(FAILED)})
    assert isinstance(await connector.inquire(call(**BY_ID)), Declined)
    assert not server.of(CANCEL)


@pytest.mark.parametrize(
    ("secure", "expected"),
    [
        ({"result": "authenticated", "authentication_flow": "challenge"}, "authenticated"),
        ({"result": "authenticated", "authentication_flow": "frictionless"}, "frictionless"),
        ({"result": "attempt_acknowledged"}, "attempted"),
        ({"result": "exempted"}, "exempted"),
        ({"result": "failed"}, "failed"),
        ({"result": "not_supported"}, "none"),
        ({"result": "processing_error"}, "unknown"),
        ({"result": None}, "unknown"),
    ],
)
async def test_what_became_of_it_is_evidence(stripe: Open, secure: dict[str, Any], expected: str) -> None:
    taken = charge()
    details = taken["payment_method_details"]["card"]
    details["three_d_secure"] = {**secure, "electronic_commerce_indicator": "05"}
    connector, _ = await stripe({GET: Answer(paid(latest_charge=taken))})
    found = await connector.inquire(call(**BY_ID))
    assert isinstance(found, Approved)
    assert found.evidence is not None
    assert (found.evidence.authentication, found.evidence.eci) == (expected, "05")
    assert found.evidence.liability is None, "Stripe does not say who bears a fraud"


@pytest.mark.parametrize(
    ("challenge", "asked_for"), [("force", "challenge"), ("default", None), ("avoid", None)]
)
async def test_a_challenge_is_asked_for_with_the_money_call(
    stripe: Open, challenge: Any, asked_for: str | None
) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    await connector.send(call(sca=Sca(challenge=challenge)), may_send=yes)
    name = "payment_method_options[card][request_three_d_secure]"
    assert server.of(CONFIRM)[0].members.get(name) == asked_for


HANDED_IN = HandedIn(
    version="2.2.0",
    trans_status="Y",
    eci="05",
    cavv="AAABCSIIAAAAAAACcwgAEMCoNh+=",
    ds_transaction_id="f25084f0-5b16-4c0a-ae5d-b24808a95e4b",
)
SECURE = "payment_method_options[card][three_d_secure]"


async def test_what_was_authenticated_elsewhere_goes_unchanged_with_the_money_call_and_nowhere_else(
    stripe: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    await connector.send(call(authentication=HANDED_IN), may_send=yes)
    members = server.of(CONFIRM)[0].members
    assert {name: text for name, text in members.items() if "three_d_secure" in name} == {
        f"{SECURE}[version]": "2.2.0",
        f"{SECURE}[cryptogram]": HANDED_IN.cavv,
        f"{SECURE}[transaction_id]": HANDED_IN.ds_transaction_id,
        f"{SECURE}[electronic_commerce_indicator]": "05",
    }
    assert members["error_on_requires_action"] == "true"
    others = [sent for sent in server.sent if sent.name != CONFIRM]
    assert not any(HANDED_IN.cavv in sent.members.values() for sent in others)
    assert HANDED_IN.cavv not in "".join(capfd.readouterr())
    assert "merchant" in connector.capabilities.three_ds


async def test_without_it_stripe_may_ask_the_customer(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    await connector.send(call(), may_send=yes)
    assert "error_on_requires_action" not in server.of(CONFIRM)[0].members


async def test_an_issuer_who_wants_another_one_declines(stripe: Open) -> None:
    wish = card_error(code="authentication_required", decline_code="authentication_required")
    connector, server = await stripe(authorizing(wish))
    fact = await connector.send(call(authentication=HANDED_IN), may_send=yes)
    assert isinstance(fact, Declined)
    assert fact.code is DeclineCode.AUTHENTICATION_REQUIRED
    assert len(server.of(CONFIRM)) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"version": "2.2"}, "/authentication/version"), ({"eci": "00"}, "/authentication/eci")],
)
async def test_what_stripe_does_not_list_is_refused_before_anything_is_sent(
    stripe: Open, changes: dict[str, str], pointer: str
) -> None:
    connector, server = await stripe({})
    fact = await connector.send(call(authentication=replace(HANDED_IN, **changes)), may_send=yes)
    assert isinstance(fact, Refused)
    assert fact.pointer == pointer
    assert server.sent == []


async def test_who_is_given_up_can_pay_no_more(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="requested_by_customer")
    connector, server = await stripe({GET: Answer(asking()), CANCEL: Answer(closed)})
    assert await connector.cancel(call(**BY_ID)) == Cancelled()
    assert server.of(CANCEL)[0].members["cancellation_reason"] == "requested_by_customer"


async def test_whom_a_cancellation_found_authorized_it_let_go(stripe: Open) -> None:
    """They passed between our look and our cancellation; it cancels what is held, and nothing is."""
    released = intent(
        "canceled", cancellation_reason="requested_by_customer", latest_charge=charge(amount_captured=0)
    )
    connector, _ = await stripe({GET: Answer(asking()), CANCEL: Answer(released)})
    assert await connector.cancel(call(**BY_ID)) == Cancelled()
    connector, _ = await stripe(
        {GET: Answer(released)}
    )  # its answer was lost, or a webhook tells of the charge
    assert await connector.inquire(call(automatic_capture=False, **BY_ID)) == Reversed()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (paid(), Stage.CAPTURED),
        (held(), Stage.AUTHORIZED),
    ],
    ids=["captured", "authorized"],
)
async def test_what_was_decided_before_is_the_answer_and_is_not_undone(
    stripe: Open, found: dict[str, Any], expected: Stage
) -> None:
    connector, server = await stripe({GET: Answer(found)})
    order = call(**BY_ID) if expected is Stage.CAPTURED else call(automatic_capture=False, **BY_ID)
    answer = await connector.cancel(order)
    assert isinstance(answer, Approved)
    assert answer.stage is expected
    assert not server.of(CANCEL)


@pytest.mark.parametrize("found", [intent("processing"), asking()], ids=["processing", "still asked"])
async def test_one_that_is_not_ended_is_not_said_to_be(stripe: Open, found: dict[str, Any]) -> None:
    connector, _ = await stripe({GET: Answer(found), CANCEL: Answer(asking())})
    assert isinstance(await connector.cancel(call(**BY_ID)), Pending)


async def test_a_cancellation_that_is_lost_says_nothing_and_is_found_done_later(stripe: Open) -> None:
    connector, _ = await stripe({GET: Answer(asking()), CANCEL: UNKNOWN_HTML})
    with pytest.raises(OutcomeUnknown):
        await connector.cancel(call(**BY_ID))
    closed = intent("canceled", cancellation_reason="requested_by_customer")
    connector, _ = await stripe({GET: Answer(closed)})
    found: Inquiry = await connector.inquire(call(**BY_ID))
    assert found == Reversed(), "nothing moved, and nothing can"
    assert await connector.cancel(call(**BY_ID)) == Cancelled()


async def test_it_asks_and_ends_it_itself(stripe: Open) -> None:
    connector, _ = await stripe({})
    assert isinstance(connector, Stripe)
    capabilities = connector.capabilities
    assert (capabilities.needs_action, capabilities.challenge_ends) == (True, "cancelled")
    assert capabilities.return_parameters == frozenset(), "the intent's secret is not kept"
