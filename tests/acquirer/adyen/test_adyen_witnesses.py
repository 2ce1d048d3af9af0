"""The judge of the Adyen dialect judges, and knows of no member that the dialect does not."""

import httpx
import pytest
from adyen_side import AdyenSide, violations

from devstack.acquirer.adyen import orders
from tests.witnesses.adyen_models import CHECKOUT, NOTIFICATION, AdyenModels, adyen_models


@pytest.fixture(scope="module")
def models() -> AdyenModels:
    return adyen_models()


async def test_an_answer_that_is_not_adyens_is_a_violation(models: AdyenModels, adyen: AdyenSide) -> None:
    answer = await adyen.paid(adyen.payment(adyen.new()))
    assert models.judged(CHECKOUT, "PaymentResponse", answer) == []
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
        assert models.judged(CHECKOUT, "PaymentResponse", {**answer, **change}), change


async def test_a_webhook_that_is_not_adyens_is_a_violation(models: AdyenModels, adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference))
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")

    def judged(**change: object) -> list[str]:
        items = [{"NotificationRequestItem": {**item, **change}}]
        return models.judged(NOTIFICATION, "Notification", {"live": "false", "notificationItems": items})

    assert judged() == []
    for wrong in ({"success": True}, {"eventCode": "PAID"}, {"colour": "red"}, {"operations": ["SELL"]}):
        assert judged(**wrong), wrong


async def test_the_judgement_of_an_exchange_sees_answer_and_request(models: AdyenModels) -> None:
    asked = {"merchantAccount": "AcmeECOM", "paymentReference": "A1"}
    answer = {**asked, "pspReference": "P", "status": "done"}
    request = httpx.Request("POST", "http://a/adyen/v72/cancels", json={**asked, "colour": "red"})
    found = violations(models, httpx.Response(201, json=answer, request=request))
    assert len(found) == 2


def test_what_adyen_says_may_be_null_may_be_and_nothing_else(models: AdyenModels) -> None:
    assert models.judged(CHECKOUT, "PaymentResponse", {"amount": None}) == []
    assert models.judged(CHECKOUT, "PaymentResponse", {"resultCode": None}) != []
    whole = {"currency": "EUR", "value": None}
    assert models.judged(CHECKOUT, "PaymentResponse", {"amount": whole}) != []


def test_a_union_is_one_of_its_models_by_its_type(models: AdyenModels) -> None:
    """A card's type is that of several, of which one is enough; another's members are not a card's."""
    card = {"type": "scheme", "number": "4111111145551142"}
    assert models.judged(CHECKOUT, "PaymentRequestPaymentMethod", card) == []
    for wrong in ({**card, "virtualPaymentAddress": "a@b"}, {**card, "type": "magic"}, {"number": "4"}):
        assert models.judged(CHECKOUT, "PaymentRequestPaymentMethod", wrong) != [], wrong


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
    models: AdyenModels, model: str, played: type[orders.Payment]
) -> None:
    known = {field.alias or name for name, field in played.model_fields.items()}
    if played is orders.Payment:
        known |= set(orders.NOT_PLAYED)
    adyens = models.model(CHECKOUT, model)
    assert adyens is not None
    assert known == set(adyens.members)
