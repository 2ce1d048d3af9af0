"""Payments at the sandbox's Adyen: cards, wallets and UPI, and the shopper who comes back."""

import pytest
from adyen_side import ACCOUNT, RETURN_URL, AdyenSide, done, refused

from tests.support.eventually import eventually


async def test_a_manual_card_payment_is_only_authorized(adyen: AdyenSide) -> None:
    reference = adyen.new()
    answer = await adyen.paid(adyen.payment(reference))
    assert (answer["resultCode"], answer["merchantReference"]) == ("Authorised", reference)
    assert answer["amount"] == {"currency": "USD", "value": 1099}
    assert len(answer["pspReference"]) == 16
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    assert (item["success"], item["pspReference"]) == ("true", answer["pspReference"])
    assert item["merchantAccountCode"] == ACCOUNT
    assert item["amount"] == {"currency": "USD", "value": 1099}
    assert "originalReference" not in item
    assert await adyen.moved(reference) == [("authorize", 1099)]


@pytest.mark.parametrize("changes", [{"captureDelayHours": 0}, {}])
async def test_an_automatic_payment_is_captured_with_it_and_no_capture_is_told(
    adyen: AdyenSide, changes: dict[str, int]
) -> None:
    reference = adyen.new()
    answer = await adyen.paid(adyen.payment(reference, additionalData={}, **changes))
    assert answer["resultCode"] == "Authorised"
    await adyen.webhooks.has(reference, "AUTHORISATION")
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 1099)]


async def test_a_delay_captures_later(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference, additionalData={}, captureDelayHours=2))
    assert await adyen.moved(reference) == [("authorize", 1099)]


@pytest.mark.parametrize(
    ("asked", "result", "code", "reason"),
    [
        ({"method": {"holderName": "DECLINED"}}, "Refused", "2", "Refused"),
        ({"method": {"holderName": "NOT_ENOUGH_BALANCE"}}, "Refused", "12", "Not enough balance"),
        ({"method": {"holderName": "ERROR"}}, "Error", "4", "Acquirer Error"),
        ({"additionalData": {"RequestedTestAcquirerResponseCode": "6"}}, "Refused", "6", "Expired Card"),
        ({"method": {"number": "4000000000009995"}}, "Refused", "12", "Not enough balance"),
    ],
)
async def test_a_refusal_says_why(
    adyen: AdyenSide, asked: dict[str, dict[str, str]], result: str, code: str, reason: str
) -> None:
    reference = adyen.new()
    answer = await adyen.paid(adyen.payment(reference, **asked))
    assert (answer["resultCode"], answer["refusalReasonCode"]) == (result, code)
    assert answer["refusalReason"] == reason
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    assert item["success"] == "false"
    assert await adyen.moved(reference) == []


async def test_encrypted_test_cards_are_cards(adyen: AdyenSide) -> None:
    body = adyen.payment(adyen.new())
    body["paymentMethod"] = {
        "type": "scheme",
        "encryptedCardNumber": "test_5555555555554444",
        "encryptedExpiryMonth": "test_03",
        "encryptedExpiryYear": "test_2030",
        "encryptedSecurityCode": "test_737",
    }
    assert (await adyen.paid(body))["paymentMethod"]["brand"] == "mc"


async def test_a_challenged_card_is_authorized_by_the_details(adyen: AdyenSide) -> None:
    reference = adyen.new()
    asked = await adyen.paid(adyen.payment(reference, method={"number": "4212345678910006"}))
    assert (asked["resultCode"], asked["action"]["type"]) == ("RedirectShopper", "redirect")
    assert asked["action"]["method"] == "GET"
    page = await adyen.acquirer.client.get(asked["action"]["url"])
    assert 'value="complete"' in page.text
    result = await adyen.authenticated(asked["action"], "complete")
    assert await adyen.moved(reference) == []
    answer = done(await adyen.details(result))
    assert answer["resultCode"] == "Authorised"
    (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
    assert item["pspReference"] == answer["pspReference"]
    assert await adyen.moved(reference) == [("authorize", 1099)]
    again = refused(await adyen.details(result), 422)
    assert "already processed or in progress" in again["message"]
    assert await adyen.moved(reference) == [("authorize", 1099)]


@pytest.mark.parametrize(("decision", "result"), [("fail", "Refused"), ("cancel", "Cancelled")])
async def test_a_shopper_who_fails_or_leaves_pays_nothing(
    adyen: AdyenSide, decision: str, result: str
) -> None:
    reference = adyen.new()
    asked = await adyen.paid(adyen.payment(reference, method={"number": "4212345678910006"}))
    brought = await adyen.authenticated(asked["action"], decision)
    assert done(await adyen.details(brought))["resultCode"] == result
    assert await adyen.moved(reference) == []


async def test_the_details_under_a_key_are_answered_the_same_again(adyen: AdyenSide) -> None:
    asked = await adyen.paid(adyen.payment(adyen.new(), method={"number": "4212345678910006"}))
    result = await adyen.authenticated(asked["action"], "complete")
    first = done(await adyen.details(result, key="leg-1"))
    assert done(await adyen.details(result, key="leg-1")) == first


@pytest.mark.parametrize(
    ("changes", "number", "result"),
    [
        (
            {"threeDS2RequestData": {"threeDSRequestorChallengeInd": "04"}},
            "4111111111111111",
            "RedirectShopper",
        ),
        ({"authenticationData": {"attemptAuthentication": "never"}}, "4212345678910006", "Authorised"),
        ({"mpiData": {"eci": "05", "authenticationResponse": "Y"}}, "4212345678910006", "Authorised"),
        ({"additionalData": {"scaExemption": "lowValue"}}, "4000002500003155", "Authorised"),
        ({"additionalData": {"scaExemption": "lowValue"}}, "4000000000003113", "RedirectShopper"),
        ({}, "4000002500003155", "RedirectShopper"),
    ],
)
async def test_what_is_wanted_of_authentication_decides_who_is_asked(
    adyen: AdyenSide, changes: dict[str, dict[str, str]], number: str, result: str
) -> None:
    body = adyen.payment(adyen.new(), method={"number": number}, **changes)
    assert (await adyen.paid(body))["resultCode"] == result


async def test_a_result_of_nobody_is_refused(adyen: AdyenSide) -> None:
    refused(await adyen.details("nobody's"), 422)


async def test_the_browser_may_come_and_come_back_by_post(adyen: AdyenSide) -> None:
    code = await adyen.set_up(id="PostECOM", redirect_by_post=True)
    body = adyen.payment(adyen.new(), merchantAccount=code, redirectFromIssuerMethod="POST")
    body["paymentMethod"]["number"] = "4212345678910006"
    action = (await adyen.paid(body))["action"]
    assert action["method"] == "POST"
    came = await adyen.acquirer.client.post(action["url"], data=action["data"])
    assert 'value="complete"' in came.text
    back = await adyen.acquirer.client.post(action["url"], data={"decision": "complete"})
    assert f'action="{RETURN_URL}"' in back.text
    assert 'name="redirectResult"' in back.text


@pytest.mark.parametrize(("type", "member"), [("applepay", "applePayToken"), ("googlepay", "googlePayToken")])
async def test_wallets_pass_their_tokens(adyen: AdyenSide, type: str, member: str) -> None:
    for token, result in (("tok_ok", "Authorised"), ("tok_declined", "Refused")):
        body = adyen.automatic(adyen.new())
        body["paymentMethod"] = {"type": type, member: token}
        assert (await adyen.paid(body))["resultCode"] == result


async def test_upi_is_awaited_or_scanned_and_told(adyen: AdyenSide) -> None:
    wanted = {"upi_qr": "qrCode", "upi_intent": "await", "upi_collect": "await"}
    for type, action in wanted.items():
        reference, method = adyen.new(), {}
        if type == "upi_collect":
            method = {"paymentMethod": {"virtualPaymentAddress": "success@upi"}}
        body = adyen.upi(reference, type, metadata={"sandbox_vpa": "success@upi"}, **method)
        answer = await adyen.paid(body)
        assert answer["action"]["type"] == action
        (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
        assert (item["success"], item["amount"]["value"]) == ("true", 5000)
        assert await adyen.moved(reference) == [("authorize", 5000), ("capture", 5000)]


async def test_upi_waits_for_its_page(adyen: AdyenSide) -> None:
    for decision, success in (("approve", "true"), ("decline", "false")):
        reference = adyen.new()
        await adyen.paid(adyen.upi(reference, "upi_intent"))
        page = f"/adyen/pages/{reference}"
        answer = await adyen.acquirer.client.post(page, data={"decision": decision})
        assert answer.status_code == 200
        (item,) = await adyen.webhooks.has(reference, "AUTHORISATION")
        assert item["success"] == success
        assert (await adyen.acquirer.client.post(page, data={"decision": "approve"})).status_code == 409


async def test_upi_that_is_late_is_authorized_after_all(adyen: AdyenSide) -> None:
    code = await adyen.set_up(id="LateECOM", upi_window_s=1)
    reference = adyen.new()
    body = adyen.upi(reference, "upi_qr", merchantAccount=code, metadata={"sandbox_vpa": "late@upi"})
    await adyen.paid(body)
    items = await adyen.webhooks.has(reference, "AUTHORISATION", "AUTHORISATION")
    assert [item["success"] for item in items] == ["false", "true"]
    assert items[0]["pspReference"] == items[1]["pspReference"]


async def test_what_is_not_adyens_is_refused_and_moves_nothing(adyen: AdyenSide) -> None:
    reference = adyen.new()
    whole = adyen.payment(reference)
    wrong = [
        {**whole, "colour": "red"},
        {**whole, "paymentMethod": {**whole["paymentMethod"], "colour": "red"}},
        {name: whole[name] for name in whole if name != "returnUrl"},
        {**whole, "amount": {"currency": "USD", "value": "1099"}},
        {**whole, "reference": "r" * 81},
        {**whole, "captureDelayHours": 673},
        {**whole, "metadata": {"m" * 21: "x"}},
        {**whole, "metadata": {"sandbox_fault": "no_such"}},
        {**whole, "paymentMethod": {**whole["paymentMethod"], "number": "4111111111111112"}},
    ]
    for body in wrong:
        response = await adyen.post("/payments", body)
        assert response.status_code in (400, 422), body
        assert "41111111" not in response.text
    assert await adyen.moved(reference) == []


async def test_keys_and_accounts_are_looked_at_first(adyen: AdyenSide) -> None:
    body = adyen.payment(adyen.new())
    refused(await adyen.post("/payments", body, api_key="somebody-else-0000001"), 401)
    refused(await adyen.post("/payments", {**body, "merchantAccount": "OtherECOM"}), 403)


async def test_no_card_is_kept(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference))
    (entry,) = await adyen.acquirer.requests(reference=reference)
    assert entry["card"] == "411111******1111"
    everything = adyen.acquirer.data.read_bytes()
    for more in adyen.acquirer.data.parent.glob("*-wal"):
        everything += more.read_bytes()
    assert b"4111111111111111" not in everything

    async def is_told() -> bool:
        return bool(adyen.webhooks.items(reference))

    await eventually(is_told, 60)
    assert "4111111111111111" not in str(adyen.webhooks.items(reference))
