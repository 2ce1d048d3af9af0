"""The judge of the Adyen dialect judges, and knows of no member that the dialect does not."""

import httpx
import pytest
from adyen_side import AdyenSide, violations

from devstack.acquirer.adyen import orders
from tests.witnesses.adyen_types import AdyenTypes, adyen_types


@pytest.fixture(scope="module")
def types() -> AdyenTypes:
    return adyen_types()


async def test_an_answer_that_is_not_adyens_is_a_violation(types: AdyenTypes, adyen: AdyenSide) -> None:
    answer = await adyen.paid(adyen.payment(adyen.new()))
    assert types.judged("PaymentResponse", answer) == []
    wrong = [
        {"resultCode": "authorised"},
        {"amount": {"currency": "USD", "value": "1099"}},
        {"amount": {"currency": "USD", "value": 1099, "colour": "red"}},
        {"additionalData": {"authCode": 12}},
        {"action": {"type": "redirect", "colour": "red"}},
        {"action": {"type": "elsewhere"}},
        {"colour": "red"},
    ]
    for change in wrong:
        assert types.judged("PaymentResponse", {**answer, **change}), change


async def test_a_webhook_that_is_not_adyens_is_a_violation(types: AdyenTypes, adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference))
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")

    def judged(**change: object) -> list[str]:
        items = [{"NotificationRequestItem": {**item, **change}}]
        return types.judged("Notification", {"live": "false", "notificationItems": items})

    assert judged() == []
    for wrong in ({"success": True}, {"eventCode": "PAID"}, {"colour": "red"}, {"operations": ["SELL"]}):
        assert judged(**wrong), wrong


async def test_the_judgement_of_an_exchange_sees_answer_and_request(types: AdyenTypes) -> None:
    request = httpx.Request("POST", "http://a/adyen/v72/cancels", json={"colour": "red"})
    found = violations(types, httpx.Response(201, json={"status": "done"}, request=request))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("model", "played"),
    [
        ("PaymentRequest", orders.Payment),
        ("PaymentDetailsRequest", orders.PaymentDetails),
        ("PaymentCaptureRequest", orders.Capture),
        ("PaymentRefundRequest", orders.Refund),
        ("PaymentCancelRequest", orders.Cancel),
        ("PaymentReversalRequest", orders.Reversal),
        ("StandalonePaymentCancelRequest", orders.TechnicalCancel),
        ("PaymentMethodsRequest", orders.PaymentMethods),
        ("CardDetails", orders.Scheme),
        ("ApplePayDetails", orders.ApplePay),
        ("GooglePayDetails", orders.GooglePay),
        ("UpiIntentDetails", orders.UpiIntent),
        ("UpiQrDetails", orders.UpiQr),
        ("UpiCollectDetails", orders.UpiCollect),
    ],
)
def test_the_dialect_knows_every_member_that_adyen_knows(
    types: AdyenTypes, model: str, played: type[orders.Payment]
) -> None:
    known = {field.alias or name for name, field in played.model_fields.items()}
    if played is orders.Payment:
        known |= set(orders.NOT_PLAYED)
    assert known == set(types.models[model])
