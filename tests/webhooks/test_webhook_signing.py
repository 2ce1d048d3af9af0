"""Signatures as the Standard Webhooks reference library sees them."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from payonce.webhooks.signing import new_secret, signed_headers

BODY = '{"type":"payment.captured","note":"₹"}'.encode()


def test_a_secret_is_32_random_bytes_in_the_format_of_standard_webhooks() -> None:
    secrets = {new_secret() for _ in range(50)}

    assert len(secrets) == 50
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_the_reference_library_verifies_the_headers() -> None:
    secret = new_secret()

    headers = signed_headers(event_id="evt_1", at=datetime.now(UTC), body=BODY, signing_secrets=[secret])

    assert Webhook(secret).verify(BODY, headers)["note"] == "₹"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, {**headers, "webhook-id": "evt_2"})


def test_every_secret_signs_and_no_other_verifies() -> None:
    old, new = new_secret(), new_secret()

    headers = signed_headers(event_id="evt_1", at=datetime.now(UTC), body=BODY, signing_secrets=[old, new])

    Webhook(old).verify(BODY, headers)
    Webhook(new).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_the_signature_is_that_of_the_specification() -> None:
    # Source: the golden vector of the standard-webhooks libraries.
    headers = signed_headers(
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        signing_secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
