"""Adyen's webhooks: what is signed is a fact, and nothing else is."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from adyen_script import (
    HMAC_KEYS,
    MANUAL,
    MODIFICATION,
    OPERATION,
    PSP,
    REFERENCE,
    SALE,
    account,
    call,
    item,
    mac,
    message,
    modified,
    signed,
)

from payonce.connectors.adyen.callbacks import ITEMS_MAX
from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.base import Callback
from payonce.connectors.conformance_truth import check_signed_decides
from payonce.domain.errors import CallbackInvalid
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Disputed,
    Expired,
    Foreign,
    Redone,
    Reversed,
    Stage,
    Told,
    Undone,
)
from payonce.domain.operations import OperationKind
from tests.witnesses.adyen_models import adyen_models

K = OperationKind
EUR = (1099, "EUR")


def read(body: bytes, headers: dict[str, str] | None = None, *, made: Any = None) -> Callback:
    connector = Adyen(made or account("http://127.0.0.1:1"))
    return connector.read_callback(headers or {}, body, now=datetime.now(UTC))


def fact_of(one: dict[str, Any]) -> Told | None:
    """What it says; which telling it is, is the callback's own identity, and left out."""
    callback = read(message(one))
    fact = callback.fact
    if isinstance(fact, Redone) or (isinstance(fact, Undone) and fact.refund is None):
        assert fact.id == callback.event_id
        return replace(fact, id="this telling")
    if isinstance(fact, Approved) and fact.event is not None:
        assert fact.event == callback.event_id
        return replace(fact, event="this telling")
    return fact


UNSIGNED = Evidence(scheme="visa", authorization_code="123456", signed=False)
AUTHORISED = Approved(PSP, *EUR, stage=Stage.AUTHORIZED, evidence=UNSIGNED)
DONE = Approved(MODIFICATION, *EUR, event="this telling")
UNDONE = Undone("this telling", *EUR, "as it was")
BOUNCED = Undone(f"{MODIFICATION}/REFUND_FAILED", *EUR, "as it was", refund=MODIFICATION)
REVERSED = replace(BOUNCED, id=f"{MODIFICATION}/REFUNDED_REVERSED")
NO = {"success": "false"}
OF_MANUAL = {"merchantReference": MANUAL}
BY_OTHERS = {"originalReference": PSP, "pspReference": MODIFICATION}
TURNED_DOWN = Declined(DeclineCode.GENERIC_DECLINE, MODIFICATION, {"reason": "as it was"})

CHARGED_BACK = Disputed(
    id=MODIFICATION,
    stage="chargeback",
    status="needs_response",
    amount_minor=1099,
    currency="EUR",
    withdrawn_minor=1099,
    withdrawn_in="EUR",
    reason="as it was",
    at=datetime(2026, 11, 29, 3, tzinfo=UTC),
    step=2,
)

SAYS: dict[str, tuple[dict[str, Any], Told | None]] = {
    "authorised, and captured by itself": (
        item("AUTHORISATION"),
        replace(AUTHORISED, stage=Stage.CAPTURED),
    ),
    "authorised": (item("AUTHORISATION", **OF_MANUAL), AUTHORISED),
    "not authorised": (item("AUTHORISATION", **NO), replace(TURNED_DOWN, connector_reference=PSP)),
    "nobody paid in time": (item("OFFER_CLOSED"), Expired(PSP)),
    "captured": (modified("CAPTURE", K.CAPTURE), DONE),
    "not captured: the request, not the payment": (modified("CAPTURE", K.CAPTURE, **NO), TURNED_DOWN),
    "the scheme rejects the capture": (modified("CAPTURE_FAILED", K.CAPTURE), UNDONE),
    "what captures itself is rejected by the scheme": (
        item("CAPTURE_FAILED", **BY_OTHERS),
        replace(UNDONE, about=PSP),
    ),
    "and is captured again": (
        item("CAPTURE", **BY_OTHERS),
        replace(AUTHORISED, stage=Stage.CAPTURED, event="this telling"),
    ),
    "captured, and not said of what": (item("CAPTURE"), None),
    "refunded": (modified("REFUND", K.REFUND), DONE),
    "not refunded": (modified("REFUND", K.REFUND, **NO), TURNED_DOWN),
    "the scheme rejects the refund": (modified("REFUND_FAILED", K.REFUND), UNDONE),
    "the refund comes back": (modified("REFUNDED_REVERSED", K.REFUND), UNDONE),
    "released": (modified("CANCELLATION", K.VOID), DONE),
    "not released, or released before": (modified("CANCELLATION", K.VOID, **NO), None),
    "reversed by our reference": (item("TECHNICAL_CANCEL", **BY_OTHERS), Reversed(about=PSP)),
    "not reversed, or not known": (item("TECHNICAL_CANCEL", **BY_OTHERS, **NO), None),
    "reversed under a reference of its own": (
        item("TECHNICAL_CANCEL", **BY_OTHERS | {"merchantReference": f"X{SALE[1:]}"}),
        Reversed(),
    ),
    "reversed by Adyen's": (
        item("CANCEL_OR_REFUND", **BY_OTHERS | {"merchantReference": f"X{SALE[1:]}"}),
        Reversed(),
    ),
    "not reversed by Adyen's": (
        item("CANCEL_OR_REFUND", **BY_OTHERS | {"merchantReference": f"X{SALE[1:]}"} | NO),
        None,
    ),
    "captured in the Customer Area": (
        item("CAPTURE", **BY_OTHERS | OF_MANUAL),
        Foreign(MODIFICATION, "capture", *EUR, about=PSP),
    ),
    "refunded in the Customer Area": (
        item("REFUND", **BY_OTHERS),
        Foreign(MODIFICATION, "refund", *EUR, about=PSP),
    ),
    "the scheme rejects a refund of the Customer Area": (item("REFUND_FAILED", **BY_OTHERS), BOUNCED),
    "a refund of the Customer Area comes back": (item("REFUNDED_REVERSED", **BY_OTHERS), REVERSED),
    "a refund comes back, and not said of what": (item("REFUNDED_REVERSED"), None),
    "a refund comes back under the payment's reference": (
        item("REFUND_FAILED", pspReference=PSP, originalReference=PSP),
        None,
    ),
    "a refund of the Customer Area did not fail": (item("REFUND_FAILED", **BY_OTHERS | NO), None),
    "reversed by a refund, which the scheme rejects": (
        item("REFUND_FAILED", **BY_OTHERS | {"merchantReference": f"X{SALE[1:]}"}),
        Redone("this telling", *EUR),
    ),
    "reversed by a refund, and it comes back": (
        item("REFUNDED_REVERSED", **BY_OTHERS | {"merchantReference": f"X{SALE[1:]}"}),
        Redone("this telling", *EUR),
    ),
    "cancelled in the Customer Area": (
        item("CANCELLATION", **BY_OTHERS | OF_MANUAL),
        Foreign(MODIFICATION, "void", *EUR, about=PSP),
    ),
    "the rest has expired": (item("EXPIRE", **OF_MANUAL), Foreign(f"{PSP}/expired", "void", *EUR)),
    "not captured in the Customer Area": (item("CAPTURE", **BY_OTHERS | NO), None),
    "cancelled or refunded by somebody": (item("CANCEL_OR_REFUND", **BY_OTHERS), None),
    "disputed": (item("CHARGEBACK", **BY_OTHERS), CHARGED_BACK),
    "a capture is told of a refund": (modified("CAPTURE", K.REFUND), None),
    "nobody has heard of it": (item("SOMETHING_NEW"), None),
}


@pytest.mark.parametrize("name", SAYS)
def test_what_each_event_says_of_our_attempts(name: str) -> None:
    one, fact = SAYS[name]
    assert fact_of(one) == fact
    ours = OPERATION if one["merchantReference"][0] in "CVR" else REFERENCE
    assert read(message(one)).reference == ours


@pytest.mark.parametrize("name", SAYS)
def test_only_what_is_signed_decides(name: str) -> None:
    one, _ = SAYS[name]
    check_signed_decides(Adyen(account("http://127.0.0.1:1")), {}, message(one))


@pytest.mark.parametrize("name", SAYS)
def test_what_is_read_here_is_what_adyens_models_are(name: str) -> None:
    one, _ = SAYS[name]
    whole = signed(one)["NotificationRequestItem"]
    expected = [] if one["eventCode"] != "SOMETHING_NEW" else ["eventCode"]
    found = adyen_models().judged("notification", "NotificationRequestItem", whole)
    assert len(found) == len(expected), found


def test_events_of_ours_are_told_apart_by_all_that_they_say() -> None:
    """A capture that is made again has the same signed members; told twice, it has the same bytes."""
    first, again = modified("CAPTURE", K.CAPTURE), modified("CAPTURE", K.CAPTURE, eventDate="2026-12-05")
    assert read(message(first)).event_id == read(message(first)).event_id
    assert read(message(first)).event_id != read(message(again)).event_id
    spaced = json.dumps(json.loads(message(first)), indent=2).encode()
    assert read(spaced).event_id == read(message(first)).event_id


def test_one_message_may_say_several_things() -> None:
    events = [item("AUTHORISATION"), modified("CAPTURE", K.CAPTURE), modified("REFUND", K.REFUND)]
    callback = read(message(*events))
    told = (callback, *callback.beside)
    alone = [read(message(event)) for event in events]
    assert [(one.event_id, one.reference, one.fact) for one in told] == [
        (one.event_id, one.reference, one.fact) for one in alone
    ]


def test_of_several_each_is_signed() -> None:
    whole = json.loads(message(item("AUTHORISATION"), item("CAPTURE")))
    whole["notificationItems"][1]["NotificationRequestItem"]["amount"]["value"] = 1
    with pytest.raises(CallbackInvalid):
        read(json.dumps(whole).encode())


def test_what_was_paid_elsewhere_is_named_as_it_is_there() -> None:
    assert read(message(item("AUTHORISATION", merchantReference="shop order 7"))).reference == "shop order 7"
    report = read(message(item("REPORT_AVAILABLE", merchantReference="", pspReference="report.csv")))
    assert (report.reference, report.fact) == ("report.csv", None)


@pytest.mark.parametrize("key", HMAC_KEYS)
def test_every_generation_of_the_key_is_read(key: str) -> None:
    assert read(message(item("AUTHORISATION"), key=key)).reference == REFERENCE
    with pytest.raises(CallbackInvalid):
        read(message(item("AUTHORISATION"), key="CD" * 32))


@pytest.mark.parametrize(
    "forged",
    [
        {"merchantReference": f"{SALE}:1099", "amount": {"currency": "EUR", "value": 1}},
        {"pspReference": f"{PSP}:"},
        {"originalReference": f":{PSP}"},
        {"eventCode": "AUTHORISATION:true"},
        {"merchantReference": f"{SALE}\\"},
        {"merchantAccountCode": "PayonceECOM:x"},
        {"merchantAccountCode": "AnotherECOM"},
        {"success": True},
        {"success": "TRUE"},
        {"success": "true "},
        {"amount": {"currency": "EUR", "value": "1099"}},
        {"amount": {"currency": "EUR", "value": -1}},
        {"amount": {"currency": "eur", "value": 1}},
        {"amount": {"currency": "EUR", "value": 10.5}},
        {"merchantReference": None},
        {"pspReference": 7},
    ],
)
def test_a_signed_member_that_can_be_read_in_two_ways_is_refused(forged: dict[str, Any]) -> None:
    """Although whoever has the key has signed it so."""
    one = item("AUTHORISATION", **forged)
    texts = {**one, "merchantReference": str(one["merchantReference"]), "success": str(one["success"])}
    own = signed({**texts, "pspReference": str(one["pspReference"])})["NotificationRequestItem"]
    body = {"NotificationRequestItem": {**own, **forged}}
    with pytest.raises(CallbackInvalid):
        read(json.dumps({"notificationItems": [body]}).encode())


def test_of_a_member_that_comes_twice_that_is_signed_which_is_read() -> None:
    """Whoever adds one to a message that they have seen gets nothing by it."""
    body = message(item("AUTHORISATION")).decode()
    genuine, forged = '"value": 1099', '"value": 1'
    assert body.count(genuine) == 1
    with pytest.raises(CallbackInvalid):
        read(body.replace(genuine, f"{genuine}, {forged}").encode())
    told = read(body.replace(genuine, f"{forged}, {genuine}").encode()).fact
    assert isinstance(told, Approved)
    assert told.amount_minor == 1099


def test_shifted_members_have_one_signature_and_are_refused_both() -> None:
    """What is signed is one text, and two messages are written by it."""
    first = item("AUTHORISATION", pspReference="P:Q", originalReference="")
    shifted = {**first, "pspReference": "P", "originalReference": "Q:"}
    assert mac(first) == mac(shifted)
    for one in (first, shifted):
        with pytest.raises(CallbackInvalid):
            read(message(one))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"\xff", b"7", b'{"a":' * 20_000, b"{}", b'{"notificationItems": []}'),
        *(b'{"notificationItems": [{}]}', b'{"notificationItems": {"a": 1}}', b'{"notificationItems": [1]}'),
        b'{"notificationItems": [{"NotificationRequestItem": []}]}',
        message(*[item("AUTHORISATION")] * (ITEMS_MAX + 1)),
        message(item("AUTHORISATION", pspReference="x" * 300)),
        message(item("AUTHORISATION"))[:-1],
    ],
)
def test_what_is_no_message_of_adyens_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackInvalid):
        read(body)


def test_what_cannot_be_written_as_text_is_refused() -> None:
    whole = json.loads(message(item("AUTHORISATION")))
    whole["notificationItems"][0]["NotificationRequestItem"]["merchantReference"] = "\ud800"
    with pytest.raises(CallbackInvalid):
        read(json.dumps(whole).encode())


def test_an_account_with_a_login_wants_it_besides() -> None:
    held = account("http://127.0.0.1:1")
    made = replace(held, secrets={**held.secrets, "webhook_login": ("adyen:new", "adyen:old")})
    body = message(item("AUTHORISATION"))

    def basic(login: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    for login in ("adyen:new", "adyen:old"):
        assert read(body, basic(login), made=made).reference == REFERENCE
    for headers in ({}, basic("adyen:other"), basic(""), {"authorization": "adyen:new"}):
        with pytest.raises(CallbackInvalid):
            read(body, headers, made=made)
    with pytest.raises(CallbackInvalid):
        read(message(item("AUTHORISATION"), key="CD" * 32), basic("adyen:new"), made=made)


def test_an_account_without_a_key_believes_nobody() -> None:
    held = account("http://127.0.0.1:1")
    with pytest.raises(CallbackInvalid):
        read(message(item("AUTHORISATION")), made=replace(held, secrets={"key": ("k",)}))


def test_an_amount_that_ours_cannot_be_is_for_a_person() -> None:
    """A part of a krona: the callback is kept, and says nothing that could be booked."""
    assert fact_of(item("AUTHORISATION", amount={"currency": "ISK", "value": 1050})) is None
    told = fact_of(item("AUTHORISATION", amount={"currency": "ISK", "value": 1000}))
    assert isinstance(told, Approved)
    assert (told.amount_minor, told.currency) == (10, "ISK")


def test_the_amount_is_what_was_signed_and_not_what_was_asked_for() -> None:
    told = fact_of(modified("CAPTURE", K.CAPTURE, amount={"currency": "EUR", "value": 500}))
    assert isinstance(told, Approved)
    assert told.amount_minor == 500
    assert call().amount_minor == 1099
