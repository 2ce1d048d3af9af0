"""The sandbox's faults in the Adyen dialect: what `metadata.sandbox_fault` does to a request, and later."""

import httpx
import pytest
from acquirer_process import GIVES_UP_S
from adyen_side import API_KEY, AdyenSide, Json, done, refused

from tests.support.eventually import eventually

HEADERS = {"X-API-Key": API_KEY}


def faulty(adyen: AdyenSide, reference: str, fault: str) -> Json:
    return adyen.payment(reference, metadata={"sandbox_fault": fault})


async def test_a_payment_that_is_never_answered_is_told_all_the_same(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = faulty(adyen, reference, "timeout_after_charge")
    with pytest.raises(httpx.ReadTimeout):
        await adyen.acquirer.client.post(
            "/adyen/v72/payments",
            json=body,
            headers=HEADERS | {"Idempotency-Key": "lost-1"},
            timeout=GIVES_UP_S,
        )
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    again = done(await adyen.post("/payments", body, key="lost-1"))
    assert again["pspReference"] == item["pspReference"]
    assert await adyen.moved(reference) == [("authorize", 1099)]


async def test_a_payment_that_never_happened_is_told_by_nobody(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = faulty(adyen, reference, "timeout_before_charge")
    with pytest.raises(httpx.ReadTimeout):
        await adyen.acquirer.client.post(
            "/adyen/v72/payments", json=body, headers=HEADERS, timeout=GIVES_UP_S
        )

    async def is_logged() -> bool:
        entries = await adyen.acquirer.requests(reference=reference)
        return [entry["answer"] for entry in entries] == ["none: timeout"]

    await eventually(is_logged, 60)
    assert await adyen.moved(reference) == []
    done(await adyen.post("/payments", body))  # a fault is set off once


async def test_a_reset_after_the_charge(adyen: AdyenSide) -> None:
    reference = adyen.new()
    with pytest.raises(httpx.ReadError):
        await adyen.post("/payments", faulty(adyen, reference, "reset_after_charge"))
    await adyen.webhooks.has(reference, "AUTHORISATION")


@pytest.mark.parametrize(
    ("fault", "status_code", "moved"),
    [
        ("error_after_charge", 500, 1),
        ("error_before_charge", 500, 0),
        ("rate_limited", 429, 0),
        ("redirect", 302, 0),
        ("html", 200, 1),
        ("garbage", 200, 1),
        ("other_answer", 200, 1),
        ("refuse:/browserInfo/userAgent", 422, 0),
    ],
)
async def test_an_answer_that_says_nothing_or_lies(
    adyen: AdyenSide, fault: str, status_code: int, moved: int
) -> None:
    reference = adyen.new()
    response = await adyen.post("/payments", faulty(adyen, reference, fault))
    assert response.status_code == status_code
    if status_code == 200:
        assert reference not in response.text
    assert len(await adyen.moved(reference)) == moved


async def test_after_a_500_the_same_key_answers_what_was_done(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = faulty(adyen, reference, "error_after_charge")
    refused(await adyen.post("/payments", body, key="lost-2"), 500)
    assert done(await adyen.post("/payments", body, key="lost-2"))["resultCode"] == "Authorised"
    assert await adyen.moved(reference) == [("authorize", 1099)]


async def test_another_amount_is_authorized(adyen: AdyenSide) -> None:
    reference = adyen.new()
    answer = await adyen.paid(faulty(adyen, reference, "amount_mismatch"))
    assert answer["amount"]["value"] == 1100
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    assert item["amount"]["value"] == 1100


async def test_an_automatic_payment_may_be_authorized_only(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.automatic(reference, metadata={"sandbox_fault": "authorized_only"}))
    assert await adyen.moved(reference) == [("authorize", 1099)]


@pytest.mark.parametrize("what", ["captures", "cancels", "reversals"])
async def test_a_modification_that_is_received_and_lost(adyen: AdyenSide, what: str) -> None:
    prefix = {"captures": "capture", "cancels": "void", "reversals": "reverse"}[what]
    reference = adyen.new()
    body = faulty(adyen, reference, f"{prefix}:callback_lost")
    psp = (await adyen.paid(body))["pspReference"]
    answer = await adyen.modify(psp, what, 1099 if what == "captures" else None)
    assert answer["status"] == "received"
    assert len(await adyen.moved(reference)) == 2
    assert await adyen.acquirer.callbacks(reference=answer["reference"]) == []


async def test_a_webhook_that_comes_late(adyen: AdyenSide) -> None:
    psp = (await adyen.paid(faulty(adyen, adyen.new(), "capture:callback_late:1")))["pspReference"]
    item = await adyen.told(psp, "captures", "CAPTURE", 1099)
    (entry,) = await adyen.acquirer.callbacks(reference=item["merchantReference"])
    assert entry["outcome"] in (None, "delivered")
    assert item["success"] == "true"


async def test_a_modification_that_is_received_and_refused(adyen: AdyenSide) -> None:
    reference = adyen.new()
    psp = (await adyen.paid(faulty(adyen, reference, "capture:rejected")))["pspReference"]
    assert (await adyen.told(psp, "captures", "CAPTURE", 1099))["success"] == "false"
    assert await adyen.moved(reference) == [("authorize", 1099)]
    assert (await adyen.told(psp, "captures", "CAPTURE", 1099))["success"] == "true"


async def test_a_capture_fails_and_is_made_again(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = faulty(adyen, reference, "undo_capture:1,redo_capture:1")
    psp = (await adyen.paid(body))["pspReference"]
    own = (await adyen.modify(psp, "captures", 700))["reference"]
    items = await adyen.webhooks.has(own, "CAPTURE", "CAPTURE_FAILED", "CAPTURE")
    assert {item["success"] for item in items} == {"true"}
    assert {item["originalReference"] for item in items} == {psp}
    assert items[2]["reason"] == "Transaction Recaptured"
    assert [operation for operation, _ in await adyen.moved(reference)] == [
        *["authorize", "capture", "undo", "capture"]
    ]


async def test_refunds_come_back_in_two_ways(adyen: AdyenSide) -> None:
    for fault, event in (("undo_refund:1", "REFUND_FAILED"), ("refunded_reversed:1", "REFUNDED_REVERSED")):
        reference = adyen.new()
        body = adyen.automatic(reference, metadata={"sandbox_fault": fault})
        psp = (await adyen.paid(body))["pspReference"]
        answer = await adyen.modify(psp, "refunds", 300)
        items = await adyen.webhooks.has(answer["reference"], "REFUND", event)
        assert items[1]["pspReference"] == answer["pspReference"]
        assert (await adyen.moved(reference))[-1] == ("undo", 300)
        assert (await adyen.told(psp, "refunds", "REFUND", 1099))["success"] == "true"


async def test_somebody_refunds_or_captures_elsewhere(adyen: AdyenSide) -> None:
    refunded, captured = adyen.new(), adyen.new()
    await adyen.paid(adyen.automatic(refunded, metadata={"sandbox_fault": "foreign_refund:99"}))
    await adyen.webhooks.has(refunded, "AUTHORISATION", "REFUND")
    await adyen.paid(adyen.payment(captured, metadata={"sandbox_fault": "foreign_capture"}))
    await adyen.webhooks.has(captured, "AUTHORISATION", "CAPTURE")
    for reference, operation in ((refunded, "refund"), (captured, "capture")):
        entry = (await adyen.acquirer.ledger(payment_reference=reference))[-1]
        assert (entry["operation"], entry["origin"]) == (operation, "acquirer")


@pytest.mark.parametrize(("fault", "result"), [("pending:1", "Pending"), ("received:1", "Received")])
async def test_a_result_that_says_nothing_yet_is_told_later(
    adyen: AdyenSide, fault: str, result: str
) -> None:
    reference = adyen.new()
    answer = await adyen.paid(faulty(adyen, reference, fault))
    assert answer["resultCode"] == result
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    assert (item["success"], item["pspReference"]) == ("true", answer["pspReference"])


async def test_a_leg_that_is_never_answered_has_moved_money(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = faulty(adyen, reference, "resume:timeout_after_charge")
    body["paymentMethod"]["number"] = "4212345678910006"
    asked = await adyen.paid(body)
    result = await adyen.authenticated(asked["action"], "complete")
    with pytest.raises(httpx.HTTPError):
        await adyen.acquirer.client.post(
            "/adyen/v72/payments/details",
            json={"details": {"redirectResult": result}},
            headers=HEADERS | {"Idempotency-Key": "lost-leg"},
            timeout=GIVES_UP_S,
        )
    await adyen.webhooks.has(reference, "AUTHORISATION")
    refused(await adyen.details(result), 422)
    assert done(await adyen.details(result, key="lost-leg"))["resultCode"] == "Authorised"


async def test_faults_can_be_added_to_a_payment_later(adyen: AdyenSide) -> None:
    reference = adyen.new()
    psp = (await adyen.paid(adyen.payment(reference)))["pspReference"]
    path = f"/adyen/payments/{psp}/faults"
    done(await adyen.acquirer.post(path, {"faults": ["capture:error_after_charge"]}))
    money = {"currency": "USD", "value": 1099}
    body = {"merchantAccount": "AcmeECOM", "reference": adyen.new(), "amount": money}
    refused(await adyen.post(f"/payments/{psp}/captures", body), 500)
    assert len(await adyen.moved(reference)) == 2
    assert (await adyen.acquirer.post(path, {"faults": ["no:such"]})).status_code == 400
