"""How the Stripe dialect takes requests: who may ask, what a form may hold, lists, expansion, versions."""

import base64
from typing import Any

import pytest
from acquirer_process import Acquirer
from stripe_side import ACCOUNT, SECRET_KEY, StripeSide, done, error, set_up

RESTRICTED = "rk_test_acme0000000000000001"


async def test_the_account_says_who_it_is(unmoved_stripe: StripeSide) -> None:
    account = done(await unmoved_stripe.get("/account"))
    assert (account["id"], account["object"], account["charges_enabled"]) == (ACCOUNT, "account", True)


async def test_basic_authentication_takes_the_key_as_the_users_name(unmoved_stripe: StripeSide) -> None:
    basic = base64.b64encode(f"{SECRET_KEY}:".encode()).decode()
    response = await unmoved_stripe.acquirer.client.get(
        "/stripe/v1/account", headers={"Authorization": f"Basic {basic}"}
    )
    assert done(response)["id"] == ACCOUNT


@pytest.mark.parametrize("header", ["", "Bearer sk_test_another0000000000", "Basic !!!", "Digest x"])
async def test_without_a_valid_key_nothing_is_answered(unmoved_stripe: StripeSide, header: str) -> None:
    response = await unmoved_stripe.acquirer.client.get(
        "/stripe/v1/account", headers={"Authorization": header}
    )
    assert error(response, 401)["type"] == "invalid_request_error"
    assert "another0000" not in response.text


async def test_an_expired_key_says_so(acquirer: Acquirer) -> None:
    await set_up(acquirer, keys=[{"key": SECRET_KEY, "expired": True}])
    assert error(await StripeSide(acquirer).get("/account"), 401)["code"] == "api_key_expired"


async def test_a_restricted_key_does_what_it_has_the_permission_for(acquirer: Acquirer) -> None:
    key = {"key": RESTRICTED, "permissions": ["payment_intent_write", "charge_read"]}
    await set_up(acquirer, keys=[{"key": SECRET_KEY}, key])
    stripe = StripeSide(acquirer, RESTRICTED)
    intent = await stripe.paid(capture_method="automatic")
    done(await stripe.get(f"/payment_intents/{intent['id']}"))
    refused = error(await stripe.post("/refunds", {"payment_intent": intent["id"]}), 403)
    assert refused["type"] == "invalid_request_error"
    assert [entry["operation"] for entry in await acquirer.ledger()] == ["authorize", "capture"]


async def test_an_account_sees_nothing_of_another_or_of_another_mode(acquirer: Acquirer) -> None:
    await set_up(acquirer)
    await set_up(acquirer, id="acct_1Other", keys=[{"key": "sk_test_other000000000001"}])
    await set_up(acquirer, livemode=True, keys=[{"key": "sk_live_acme0000000000001"}])
    intent = await StripeSide(acquirer).intent()
    for key in ("sk_test_other000000000001", "sk_live_acme0000000000001"):
        side = StripeSide(acquirer, key)
        assert error(await side.get(f"/payment_intents/{intent['id']}"), 404)["code"] == "resource_missing"
        assert done(await side.get("/payment_intents"))["data"] == []


async def test_objects_say_the_mode_of_their_key(acquirer: Acquirer) -> None:
    await set_up(acquirer, livemode=True, keys=[{"key": "sk_live_acme0000000000001"}])
    assert (await StripeSide(acquirer, "sk_live_acme0000000000001").intent())["livemode"] is True


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"colour": "red"}, "colour"),
        ({"payment_method_options[card][colour]": "red"}, "payment_method_options[card][colour]"),
        ({"shipping[colour]": "red"}, "shipping[colour]"),
    ],
)
async def test_an_unknown_parameter_is_refused(
    unmoved_stripe: StripeSide, form: dict[str, str], param: str
) -> None:
    refused = error(
        await unmoved_stripe.post("/payment_intents", {"amount": "1099", "currency": "usd", **form}), 400
    )
    assert (refused["code"], refused["param"]) == ("parameter_unknown", param)


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": "1099"}, "parameter_missing", "currency"),
        ({"amount": "ten", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": "1099", "currency": ""}, "parameter_invalid_empty", "currency"),
        ({"amount": "49", "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": "100000000", "currency": "usd"}, "amount_too_large", "amount"),
    ],
)
async def test_a_parameter_that_cannot_be_meant_is_refused(
    unmoved_stripe: StripeSide, form: dict[str, str], code: str, param: str
) -> None:
    refused = error(await unmoved_stripe.post("/payment_intents", form), 400)
    assert (refused["type"], refused["code"], refused["param"]) == ("invalid_request_error", code, param)


@pytest.mark.parametrize(("currency", "amount"), [("kwd", "1001"), ("isk", "1050"), ("ugx", "100001")])
async def test_amounts_that_a_currency_does_not_have_are_refused(
    unmoved_stripe: StripeSide, currency: str, amount: str
) -> None:
    refused = error(
        await unmoved_stripe.post("/payment_intents", {"amount": amount, "currency": currency}), 400
    )
    assert refused["param"] == "amount"


async def test_a_card_has_a_suffix_and_no_descriptor_of_its_own(stripe: StripeSide) -> None:
    intent = await stripe.intent(statement_descriptor="ACME SHOES")
    assert error(await stripe.confirm(intent["id"]), 400)["param"] == "statement_descriptor"
    paid = await stripe.paid(statement_descriptor_suffix="SHOES")
    assert paid["latest_charge"]["statement_descriptor_suffix"] == "SHOES"
    path = f"/payment_intents/{paid['id']}/capture"
    refused = error(await stripe.post(path, {"statement_descriptor": "ACME"}), 400)
    assert refused["param"] == "statement_descriptor"


@pytest.mark.parametrize(
    ("name", "longest"), [("description", 1000), ("statement_descriptor_suffix", 22), ("metadata[a]", 500)]
)
async def test_texts_have_the_documented_length(unmoved_stripe: StripeSide, name: str, longest: int) -> None:
    assert name.partition("[")[0] in await unmoved_stripe.intent(**{name: "x" * longest})
    form = {"amount": "1099", "currency": "usd", name: "x" * (longest + 1)}
    assert error(await unmoved_stripe.post("/payment_intents", form), 400)["type"] == "invalid_request_error"


async def test_an_unknown_path_is_no_endpoint(unmoved_stripe: StripeSide) -> None:
    response = await unmoved_stripe.acquirer.client.get(
        "/stripe/v1/colours", headers=unmoved_stripe.headers()
    )
    assert error(response, 404)["type"] == "invalid_request_error"


async def test_lists_may_be_written_with_numbers_or_without(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    for name in ("expand[]", "expand[0]"):
        shown = done(await stripe.get(f"/payment_intents/{paid['id']}", **{name: "latest_charge"}))
        assert shown["latest_charge"]["object"] == "charge"
    assert (
        done(await stripe.get(f"/payment_intents/{paid['id']}"))["latest_charge"]
        == shown["latest_charge"]["id"]
    )


async def test_what_is_no_id_cannot_be_expanded(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    path = f"/payment_intents/{paid['id']}"
    assert error(await stripe.get(path, **{"expand[]": "amount"}), 400)["type"] == "invalid_request_error"
    nested = done(await stripe.get(path, **{"expand[]": "latest_charge.payment_intent"}))
    assert nested["latest_charge"]["payment_intent"]["id"] == paid["id"]


async def test_a_wrong_expansion_is_refused_before_anything_moves(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    form = {"payment_method": "pm_card_visa", "expand[]": "latest_charge.colour"}
    assert (
        error(await stripe.post(f"/payment_intents/{intent['id']}/confirm", form), 400)["param"] == "expand"
    )
    assert (await stripe.shown(intent["id"]))["status"] == "requires_payment_method"
    assert await stripe.acquirer.ledger() == []


async def test_a_charge_may_be_read_with_its_refunds(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    done(await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99"}))
    path = f"/payment_intents/{paid['id']}"
    shown = done(await stripe.get(path, **{"expand[]": "latest_charge.refunds"}))
    assert [refund["amount"] for refund in shown["latest_charge"]["refunds"]["data"]] == [99]


async def test_a_return_url_is_needed_where_methods_redirect(acquirer: Acquirer) -> None:
    await set_up(acquirer, redirect_methods=True)
    stripe = StripeSide(acquirer)
    intent = await stripe.intent()
    assert error(await stripe.confirm(intent["id"]), 400)["param"] == "return_url"
    for way in (
        {"payment_method_types[]": "card"},
        {"automatic_payment_methods[enabled]": "true", "automatic_payment_methods[allow_redirects]": "never"},
    ):
        assert (await stripe.paid(**way))["status"] == "requires_capture"


async def test_a_body_of_over_64_kib_is_not_read(unmoved_stripe: StripeSide) -> None:
    assert (await unmoved_stripe.post("/payment_intents", {"description": "x" * 70_000})).status_code == 413


async def test_a_list_has_the_newest_first_and_is_read_to_its_last_page(stripe: StripeSide) -> None:
    intents = [(await stripe.intent())["id"] for _ in range(5)]
    read: list[str] = []
    query: dict[str, Any] = {"limit": 2, "created[gte]": 0}
    for _ in range(3):
        page = done(await stripe.get("/payment_intents", **query))
        assert (page["object"], page["url"]) == ("list", "/v1/payment_intents")
        read += [intent["id"] for intent in page["data"]]
        assert page["has_more"] is (len(read) < 5)
        query["starting_after"] = read[-1]
    assert read == intents[::-1]
    later = done(await stripe.get("/payment_intents", **{"created[gte]": 9_999_999_999}))
    assert (later["data"], later["has_more"]) == ([], False)


async def test_a_list_can_be_expanded(stripe: StripeSide) -> None:
    await stripe.paid()
    page = done(await stripe.get("/payment_intents", **{"expand[]": "data.latest_charge"}))
    assert page["data"][0]["latest_charge"]["object"] == "charge"


async def test_refunds_are_listed_by_intent(stripe: StripeSide) -> None:
    one, two = await stripe.captured(), await stripe.captured()
    refund = done(await stripe.post("/refunds", {"payment_intent": one["id"], "amount": "1"}))
    done(await stripe.post("/refunds", {"payment_intent": two["id"], "amount": "1"}))
    listed = done(await stripe.get("/refunds", payment_intent=one["id"]))
    assert [each["id"] for each in listed["data"]] == [refund["id"]]
    assert done(await stripe.get(f"/refunds/{refund['id']}"))["amount"] == 1


async def test_metadata_is_merged_and_an_empty_value_unsets(unmoved_stripe: StripeSide) -> None:
    intent = await unmoved_stripe.intent()
    form = {"metadata[order]": "7", "metadata[payonce_payment]": ""}
    updated = done(await unmoved_stripe.post(f"/payment_intents/{intent['id']}", form))
    assert updated["metadata"] == {"payonce_reference": "ref-1", "order": "7"}


async def test_every_answer_has_a_request_id_and_the_version(unmoved_stripe: StripeSide) -> None:
    response = await unmoved_stripe.get("/account")
    assert response.headers["request-id"].startswith("req_")
    assert response.headers["stripe-version"] == "2026-08-26.dahlia"


async def test_accounts_are_set_up_with_the_sandboxs_key_only(acquirer: Acquirer) -> None:
    body = {"id": ACCOUNT, "keys": [{"key": SECRET_KEY}]}
    response = await acquirer.client.put(
        f"/stripe/accounts/{ACCOUNT}", json=body, headers={"Authorization": "Bearer no"}
    )
    assert response.status_code == 401
    assert (await StripeSide(acquirer).get("/account")).status_code == 401
