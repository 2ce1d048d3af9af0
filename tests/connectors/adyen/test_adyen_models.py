"""What Adyen publishes judges the connector: its models, its library's check of signatures, and a known vector."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from adyen_script import (
    HMAC_KEYS,
    PATHS,
    account,
    call,
    item,
    modified,
    paid,
    problem,
    received,
    redirected,
    refusal,
    signed,
)

from payonce.connectors.adyen.callbacks import signature
from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.conformance_customer import NOW
from payonce.domain.errors import CallbackInvalid
from payonce.domain.operations import OperationKind
from tests.support.tools import tool
from tests.witnesses.adyen_models import PACKAGE, VERSION, adyen_models
from tests.witnesses.npm import package_directory

K = OperationKind
NODE_S_MAX = 60

# Source: the tests of Adyen's own libraries, which share it: a notification, its key and its signature.
PUBLISHED: dict[str, Any] = {
    "pspReference": "7914073381342284",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "amount": {"currency": "EUR", "value": 1130},
    "eventCode": "AUTHORISATION",
    "eventDate": "2014-08-06T17:15:34.121+02:00",
    "success": "true",
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
}


def notification(**members: Any) -> dict[str, Any]:
    whole: dict[str, Any] = signed(item("AUTHORISATION", **members))["NotificationRequestItem"]
    return whole


def changed(of: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**of, **members}


SOUND = notification()
CASES = {
    "as it was signed": (SOUND, True),
    "of a modification": (signed(modified("CAPTURE", K.CAPTURE))["NotificationRequestItem"], True),
    "without an original reference": (notification(originalReference=""), True),
    "of another payment": (changed(SOUND, pspReference="ABCDEFGHJKLMNPQR"), False),
    "of another amount": (changed(SOUND, amount={"currency": "EUR", "value": 1}), False),
    "in another currency": (changed(SOUND, amount={"currency": "USD", "value": 1099}), False),
    "another event": (changed(SOUND, eventCode="CAPTURE"), False),
    "a no for a yes": (changed(SOUND, success="false"), False),
    "of another reference": (changed(SOUND, merchantReference="AotherZd1"), False),
    "with other words": (changed(SOUND, reason="another", eventDate="2030-01-01T00:00:00Z"), True),
    "with another signature": (changed(SOUND, additionalData={"hmacSignature": "AAAA"}), False),
    "unsigned": (changed(SOUND, additionalData={}), False),
}


@pytest.fixture(scope="module")
def believed() -> dict[str, bool]:
    """What Adyen's library says of each, asked once."""
    node = tool("node", of="nodejs")
    module = package_directory(PACKAGE, VERSION) / "lib" / "src" / "utils" / "hmacValidator.js"
    asked = {"module": str(module), "key": HMAC_KEYS[0], "items": [one for one, _ in CASES.values()]}
    program = Path(__file__).with_name("hmac_of_sdk.mjs")
    answered = subprocess.run(
        [node, str(program)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=NODE_S_MAX,
        check=True,
    )
    return dict(zip(CASES, json.loads(answered.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_connector_believes_whom_adyens_library_believes(believed: dict[str, bool], name: str) -> None:
    """Beside that ours refuses other merchant accounts, and signed members that could be read in two ways."""
    one, holds = CASES[name]
    assert believed[name] is holds
    body = json.dumps({"notificationItems": [{"NotificationRequestItem": one}]}).encode()
    connector = Adyen(account("http://127.0.0.1:1"))
    if holds:
        connector.read_callback({}, body, now=NOW)
    else:
        with pytest.raises(CallbackInvalid):
            connector.read_callback({}, body, now=NOW)


def test_the_published_vector_holds() -> None:
    members = [
        *("7914073381342284", "", "TestMerchant", "TestPayment-1407325143704"),
        *("1130", "EUR", "AUTHORISATION", "true"),
    ]
    own = PUBLISHED["additionalData"]["hmacSignature"]
    assert signature(members, bytes.fromhex(HMAC_KEYS[0])) == own
    body = json.dumps({"notificationItems": [{"NotificationRequestItem": PUBLISHED}]}).encode()
    made = account("http://127.0.0.1:1", merchant_account="TestMerchant")
    told = Adyen(made).read_callback({}, body, now=NOW)
    assert told.reference == "TestPayment-1407325143704"  # which is none of ours


ANSWERS: list[tuple[str, Any]] = [
    ("PaymentResponse", paid()),
    ("PaymentResponse", redirected()),
    ("PaymentResponse", refusal("12").body),
    ("PaymentDetailsResponse", paid()),
    ("PaymentCaptureResponse", received(K.CAPTURE).body),
    ("PaymentCancelResponse", received(K.VOID).body),
    ("PaymentRefundResponse", received(K.REFUND).body),
    ("ServiceError", problem("101").body),
]


@pytest.mark.parametrize(("name", "body"), ANSWERS, ids=[name for name, _ in ANSWERS])
def test_what_the_script_answers_adyens_models_know(name: str, body: Any) -> None:
    assert adyen_models().judged("checkout", name, body) == []


def test_a_request_that_adyen_does_not_document_would_be_found() -> None:
    connector = Adyen(account("http://127.0.0.1:1"))
    request = connector._modification(call(K.CAPTURE), "NC6HT9CRT65ZGN82")
    assert request.json is not None
    body = request.json.model_dump(exclude_none=True)
    path = PATHS[K.CAPTURE].removeprefix("POST ")
    models = adyen_models()
    assert models.request("POST", path, body) == []
    wrong = [
        ({**body, "colour": "red"}, "no such member"),
        ({**body, "amount": {"currency": "EUR", "value": "1"}}, "no number"),
        ({name: value for name, value in body.items() if name != "merchantAccount"}, "missing"),
    ]
    for changed_body, said in wrong:
        found = models.request("POST", path, changed_body)
        assert len(found) == 1
        assert said in found[0]
    assert models.request("POST", "/v72/payments/x/refund", body) != []
    assert models.judged("checkout", "PaymentResponse", {"resultCode": "Mystery"}) != []
    assert models.request("POST", "/v72/payments", {"paymentMethod": {"type": "magic"}}) != []
