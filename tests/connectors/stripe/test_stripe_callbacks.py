"""Stripe's webhooks: signed by one of the account's secrets, not long ago, and of this account."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from stripe_script import INTENT, REFERENCE, WEBHOOK_SECRETS, account, charge, intent, refund

from payonce.connectors.stripe.callbacks import AGE_S_MAX
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import CallbackInvalid

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
NEW, OLD = WEBHOOK_SECRETS


def event(object_: Any, **members: Any) -> bytes:
    told = {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "livemode": False,
        "data": {"object": object_},
    }
    return json.dumps(told | members).encode()


def mac(body: bytes, secret: str = NEW, at: int = AT) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def signed(body: bytes, secret: str = NEW, at: int = AT) -> str:
    return f"t={at},v1={mac(body, secret, at)}"


def read(body: bytes, header: str | None = None, *, mode: str = "test") -> tuple[str, str]:
    connector = Stripe(account("http://127.0.0.1:1", mode=mode))
    headers = {"stripe-signature": signed(body) if header is None else header}
    told = connector.read_callback(headers, body, now=NOW)
    return told.event_id, told.reference


INTENT_EVENT = event(intent("succeeded"))


@pytest.mark.parametrize(
    ("object_", "reference"),
    [
        (intent("succeeded"), REFERENCE),
        (charge(metadata={"payonce_reference": REFERENCE}, payment_intent=INTENT), REFERENCE),
        (charge(metadata={}, payment_intent=INTENT), INTENT),
        (refund(), "op_01jtest-1"),
        (refund(metadata={}), INTENT),
        (refund(metadata={"payonce_reversal": REFERENCE}), REFERENCE),
        (intent(metadata={}), INTENT),
        (intent(metadata={"payonce_reference": "two words"}), INTENT),
        ({"id": "acct_1", "object": "account"}, "acct_1"),
    ],
)
def test_whose_an_event_is(object_: Any, reference: str) -> None:
    assert read(event(object_)) == ("evt_1", reference)


def test_the_signature_is_over_the_bytes_as_they_came() -> None:
    """Stripe sends its events indented; what is written anew from them is another body."""
    indented = json.dumps(json.loads(INTENT_EVENT), indent=2).encode() + b"\n"
    assert read(indented, signed(indented))[0] == "evt_1"
    with pytest.raises(CallbackInvalid):
        read(indented, signed(INTENT_EVENT))


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_each_generation_of_the_secret_verifies(secret: str) -> None:
    assert read(INTENT_EVENT, signed(INTENT_EVENT, secret))[0] == "evt_1"


def test_one_of_several_signatures_is_enough_and_other_schemes_are_passed_over() -> None:
    header = f"t={AT},v0={'0' * 64},v1={'0' * 64},v1={mac(INTENT_EVENT)}"
    assert read(INTENT_EVENT, header)[0] == "evt_1"


def test_every_signature_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    theirs = ("0" * 64, mac(INTENT_EVENT))
    read(INTENT_EVENT, f"t={AT},v1={theirs[0]},v1={theirs[1]}")
    assert compared == [(mac(INTENT_EVENT, secret), each) for secret in WEBHOOK_SECRETS for each in theirs]


@pytest.mark.parametrize(
    "kind",
    ["refund.failed", "refund.updated", "charge.refunded", "charge.refund.updated", "of.a.later.version"],
)
def test_an_event_makes_us_ask_whatever_its_type(kind: str) -> None:
    assert read(event(refund("failed"), type=kind)) == ("evt_1", "op_01jtest-1")


@pytest.mark.parametrize("seconds", [-AGE_S_MAX, AGE_S_MAX])
def test_a_signature_is_good_for_five_minutes(seconds: int) -> None:
    assert read(INTENT_EVENT, signed(INTENT_EVENT, at=AT + seconds))[0] == "evt_1"


@pytest.mark.parametrize(
    "header",
    [
        "",
        signed(INTENT_EVENT, "whsec_of_another"),
        signed(INTENT_EVENT, at=AT - AGE_S_MAX - 1),
        signed(INTENT_EVENT, at=AT + AGE_S_MAX + 1),
        signed(INTENT_EVENT).replace("v1=", "v0="),
        signed(INTENT_EVENT).replace(f"t={AT},", ""),
        f"t={AT - 1},{signed(INTENT_EVENT)}",
        f"t={AT},t={AT - 1},v1={mac(INTENT_EVENT)}",
        f"t={AT + 1},v1={mac(INTENT_EVENT)}",
        f"t={AT},v1={mac(INTENT_EVENT).upper()}",
        f"t={AT}" + f",v1={mac(INTENT_EVENT)}" * 17,
        "t=" + "9" * 3000,
        signed(INTENT_EVENT + b" "),
        signed(json.dumps(json.loads(INTENT_EVENT), separators=(",", ":")).encode()),
    ],
)
def test_a_signature_that_does_not_hold_is_refused(header: str) -> None:
    with pytest.raises(CallbackInvalid):
        read(INTENT_EVENT, header)


@pytest.mark.parametrize(
    "body",
    [
        event(intent(), livemode=True),
        event(intent(), account="acct_another"),
        event(intent(), object="list"),
        event(intent(), id="evt 1"),
        event([]),
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_signed_and_is_no_event_of_this_account_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackInvalid):
        read(body)


def test_the_account_itself_may_be_named() -> None:
    assert read(event(intent(), account="acct_1Ours"))[0] == "evt_1"


def test_an_event_of_live_mode_is_read_in_live_mode() -> None:
    assert read(event(intent(), livemode=True), mode="live")[0] == "evt_1"


def test_an_account_without_a_secret_believes_nobody() -> None:
    made = account("http://127.0.0.1:1")
    object.__setattr__(made, "secrets", {"key": made.secrets["key"], "webhook_secret": ()})
    with pytest.raises(CallbackInvalid):
        Stripe(made).read_callback({"stripe-signature": signed(INTENT_EVENT, "")}, INTENT_EVENT, now=NOW)
