"""The judges of the Stripe dialect judge: Stripe's document, its published examples, and stripe-mock itself."""

import httpx
import pytest
from stripe_side import EXCHANGES, StripeSide, done, violations

from devstack.acquirer.stripe import endpoints, form
from tests.witnesses.stripe_mock import stripe_mock
from tests.witnesses.stripe_spec import StripeSpec, stripe_spec


@pytest.fixture(scope="module")
def spec() -> StripeSpec:
    return stripe_spec()


async def test_an_answer_that_is_not_stripes_is_a_violation(spec: StripeSpec, stripe: StripeSide) -> None:
    intent = await stripe.paid()
    path = f"/v1/payment_intents/{intent['id']}"
    assert spec.answer("GET", path, 200, intent) == []
    wrong = [
        {"status": "authorized"},
        {"amount": "1099"},
        {"colour": "red"},
        {"latest_charge": {**intent["latest_charge"], "colour": "red"}},
        {"livemode": None},
    ]
    for change in wrong:
        assert spec.answer("GET", path, 200, {**intent, **change}), change
    assert spec.answer("GET", path, 200, {name: intent[name] for name in intent if name != "created"})
    assert spec.answer("GET", path, 402, {"error": {"type": "card_error", "colour": "red"}})
    assert spec.answer("GET", path, 402, {"error": "card_error"})
    assert spec.answer("GET", "/v1/nothing", 200, {})


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("amount=1099&currency=usd&metadata[a]=b&expand[]=latest_charge", True),
        ("amount=1099&currency=usd&payment_method_options[card][request_multicapture]=if_available", True),
        ("amount=ten&currency=usd", False),
        ("amount=1099", False),
        ("amount=1099&currency=usd&colour=red", False),
        ("amount=1099&currency=usd&payment_method_options[card][colour]=red", False),
        ("amount=1099&currency=usd&capture_method=later", False),
    ],
)
async def test_a_request_that_is_not_stripes_is_a_violation(
    spec: StripeSpec, unmoved_stripe: StripeSide, text: str, is_allowed: bool
) -> None:
    """And the dialect is of the same opinion, and stripe-mock's document too."""
    given = form.decoded(text)
    assert (spec.request("POST", "/v1/payment_intents", given) == []) is is_allowed
    response = await unmoved_stripe.acquirer.client.post(
        "/stripe/v1/payment_intents", content=text, headers=unmoved_stripe.headers()
    )
    assert response.is_success is is_allowed


def test_the_dialect_knows_every_parameter_that_stripe_knows(spec: StripeSpec) -> None:
    """At the top level. What it does not play it lets pass."""
    for endpoint in endpoints.ENDPOINTS:
        path = endpoint.pattern.pattern.replace("(?P<id>[A-Za-z0-9_]{1,255})", "xx_1")
        if endpoint.work is endpoints.methods.create:
            continue  # cards only
        found = spec.request(endpoint.method, path, {})
        assert not any("no such operation" in each for each in found), path
        theirs = set(spec.parameters(endpoint.method, path))
        if endpoint.operation == "update" or endpoint.method == "GET":
            assert set(endpoint.known) <= theirs, path
        else:
            assert set(endpoint.known) == theirs, path


async def test_stripes_own_examples_are_judged_as_stripes(spec: StripeSpec) -> None:
    """stripe-mock answers with Stripe's fixtures: but for two members that no schema names, all is allowed."""
    async with stripe_mock() as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        response = await client.get(
            "/v1/payment_intents/pi_1", headers={"Authorization": "Bearer sk_test_123456789012"}
        )
        body = done(response)
        body.pop("source", None)
        assert spec.answer("GET", "/v1/payment_intents/pi_1", 200, body) == []


async def test_stripe_mock_takes_every_request_that_the_dialect_took(stripe: StripeSide) -> None:
    paid = await stripe.paid(await stripe.method())
    path = f"/payment_intents/{paid['id']}"
    done(await stripe.post(f"{path}/capture", {"amount_to_capture": "700", "final_capture": "true"}))
    refund = {"payment_intent": paid["id"], "amount": "99", "reason": "requested_by_customer"}
    refunded = done(await stripe.post("/refunds", {**refund, "metadata[a]": "b"}))
    done(await stripe.get(f"/refunds/{refunded['id']}", **{"expand[]": "charge"}))
    done(await stripe.get("/refunds", payment_intent=paid["id"], limit=3))
    done(await stripe.get("/payment_intents", **{"created[gte]": 1, "limit": 3}))
    done(await stripe.get("/account"))
    other = await stripe.intent()
    done(await stripe.post(f"/payment_intents/{other['id']}/cancel", {"cancellation_reason": "abandoned"}))
    assert len(EXCHANGES) == 11
    async with stripe_mock() as url, httpx.AsyncClient(timeout=60) as client:
        for exchange in EXCHANGES:
            request = exchange.request
            where = url + request.url.raw_path.decode().removeprefix("/stripe")
            headers = {
                name: request.headers[name]
                for name in ("authorization", "content-type")
                if name in request.headers
            }
            response = await client.request(request.method, where, content=request.content, headers=headers)
            assert response.status_code == 200, (where, response.text)


async def test_the_judgement_of_an_exchange_sees_answer_and_request(spec: StripeSpec) -> None:
    request = httpx.Request(
        "POST", "http://a/stripe/v1/payment_intents", data={"amount": "1", "colour": "red"}
    )
    found = violations(spec, httpx.Response(200, json={"id": "pi_1"}, request=request))
    assert any("colour" in each for each in found)
    assert any("livemode" in each for each in found)
