"""Razorpay's webhooks: only the body is signed, and only the reference counts."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest
from razorpay_script import (
    MERCHANT,
    NOW,
    PAYMENT_ID,
    REFERENCE,
    WEBHOOK_SECRETS,
    Open,
    account,
    payment,
    refund,
)

from payonce.connectors.base import Callback, body_id
from payonce.connectors.conformance_customer import CallbackConformance, CustomerHarness
from payonce.connectors.razorpay.connector import Razorpay
from payonce.domain.errors import CallbackInvalid

NEW, OLD = WEBHOOK_SECRETS


def event(name: str = "payment.captured", **members: Any) -> bytes:
    body = {
        "entity": "event",
        "account_id": MERCHANT,
        "event": name,
        "contains": ["payment"],
        "payload": {"payment": {"entity": payment()}},
        "created_at": 1_796_000_000,
    }
    return json.dumps(body | members).encode()


def signed(body: bytes, secret: str = NEW) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-razorpay-signature": mac, "x-razorpay-event-id": "Hv3CFN5rTsBC4y"}


async def test_it_names_our_reference_and_is_known_by_its_body(razorpay: Open) -> None:
    connector, _ = await razorpay({})
    body = event()
    assert connector.read_callback(signed(body), body, now=NOW) == Callback(body_id(body), REFERENCE)


async def test_the_unsigned_id_of_the_event_makes_no_other_event(razorpay: Open) -> None:
    connector, _ = await razorpay({})
    body = event()
    first = connector.read_callback(signed(body), body, now=NOW)
    for headers in (
        signed(body) | {"x-razorpay-event-id": "another"},
        {"x-razorpay-signature": signed(body)["x-razorpay-signature"]},
    ):
        assert connector.read_callback(headers, body, now=NOW) == first


async def test_it_carries_no_fact(razorpay: Open) -> None:
    """Whatever it says: the acquirer is asked."""
    connector, _ = await razorpay({})
    for name in ("payment.failed", "payment.captured", "order.paid", "something.new"):
        body = event(name)
        assert connector.read_callback(signed(body), body, now=NOW).fact is None


async def test_an_old_secret_still_reads_what_it_signed(razorpay: Open) -> None:
    connector, _ = await razorpay({})
    body = event()
    assert connector.read_callback(signed(body, OLD), body, now=NOW).reference == REFERENCE


async def test_nothing_is_read_without_a_secret() -> None:
    bare = account("http://127.0.0.1:9")
    connector = Razorpay(type(bare)(**{**_members(bare), "secrets": {"key": bare.secrets["key"]}}))
    body = event()
    for secret in ("", NEW):
        with pytest.raises(CallbackInvalid):
            connector.read_callback(signed(body, secret), body, now=NOW)
    await connector.close()


async def test_a_secret_that_was_not_given_signs_nothing() -> None:
    """It is kept as an empty text, and everybody can sign with that."""
    made = account("http://127.0.0.1:9")
    connector = Razorpay(replace(made, secrets={**made.secrets, "webhook_secret": ("", NEW)}))
    body = event()
    with pytest.raises(CallbackInvalid):
        connector.read_callback(signed(body, ""), body, now=NOW)
    assert connector.read_callback(signed(body, NEW), body, now=NOW).reference == REFERENCE
    await connector.close()


def _members(bare: Any) -> dict[str, Any]:
    return {name: getattr(bare, name) for name in bare.__dataclass_fields__ if name != "key"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-razorpay-signature": ""},
        {"x-razorpay-signature": "0" * 64},
        {"x-razorpay-signature": "é" * 64},
        {"x-razorpay-signature": signed(event(), "whs_nobody")["x-razorpay-signature"]},
        {"x-razorpay-signature": signed(event())["x-razorpay-signature"].upper()},
        {"x-razorpay-signature": signed(event() + b" ")["x-razorpay-signature"]},
        {
            "x-razorpay-signature": signed(json.dumps(json.loads(event()), indent=1).encode())[
                "x-razorpay-signature"
            ]
        },
    ],
)
async def test_one_that_nobody_signed_is_refused(razorpay: Open, headers: dict[str, str]) -> None:
    connector, _ = await razorpay({})
    with pytest.raises(CallbackInvalid):
        connector.read_callback(headers, event(), now=NOW)


@pytest.mark.parametrize(
    "body",
    [
        event(account_id="acc_AnotherOneHere"),
        event(account_id=None),
        event(entity="payment"),
        event(payload={"payment": {"entity": {"id": "not an id"}}}),
        event(payload={"payment": {}}),
        b"[]",
        b"",
        b"{",
        b"[" * 100_000,
    ],
)
async def test_one_that_cannot_be_ours_is_refused(razorpay: Open, body: bytes) -> None:
    connector, _ = await razorpay({})
    with pytest.raises(CallbackInvalid):
        connector.read_callback(signed(body), body, now=NOW)


async def test_one_about_no_payment_at_all_is_taken_and_names_nothing_of_ours(razorpay: Open) -> None:
    """Refused, it would be sent again for a day, and count against the webhook."""
    connector, _ = await razorpay({})
    body = event(event="settlement.processed", payload={"settlement": {"entity": {"id": "setl_1"}}})
    taken = connector.read_callback(signed(body), body, now=NOW)
    assert taken.reference == taken.event_id
    assert taken.fact is None


@pytest.mark.parametrize(
    ("payload", "reference"),
    [
        ({"refund": {"entity": refund()}, "payment": {"entity": payment()}}, "op_01jtest-1"),
        ({"refund": {"entity": refund(notes=[])}, "payment": {"entity": payment()}}, REFERENCE),
        ({"refund": {"entity": refund(notes=[])}}, PAYMENT_ID),
        ({"payment": {"entity": payment(notes=[])}}, PAYMENT_ID),
        ({"payment": {"entity": payment(notes={"payonce_reference": "x" * 200})}}, PAYMENT_ID),
        ({"payment": {"entity": payment(notes={"payonce_reference": "a b"})}}, PAYMENT_ID),
        ({"order": {"entity": {}}, "payment": {"entity": payment()}}, REFERENCE),
    ],
)
async def test_what_it_is_about(razorpay: Open, payload: dict[str, Any], reference: str) -> None:
    """A refund that is not ours is Razorpay's own or the dashboard's: the authorization tells of it."""
    connector, _ = await razorpay({})
    body = event("refund.processed", payload=payload)
    assert connector.read_callback(signed(body), body, now=NOW).reference == reference


class CallbackHarness:
    """Only what the suite of callbacks needs: nobody is asked anything."""

    def open(self) -> Razorpay:
        return Razorpay(account("http://127.0.0.1:9"))

    def callback(self, reference: str, *, event_id: str, at: datetime) -> tuple[dict[str, str], bytes]:
        told = payment(notes={"payonce_reference": reference}, created_at=int(at.timestamp()))
        body = event(payload={"payment": {"entity": told}})
        return {"x-razorpay-signature": signed(body)["x-razorpay-signature"]}, body


class TestRazorpayCallbacks(CallbackConformance):
    """What the suite shows of signatures. An event has no signed id, and no signed time outside its body."""

    test_a_callback_names_its_event_and_our_reference = None
    test_one_that_is_not_of_now_is_refused = None

    @pytest.fixture
    def harness(self) -> CustomerHarness:
        return cast("CustomerHarness", CallbackHarness())
