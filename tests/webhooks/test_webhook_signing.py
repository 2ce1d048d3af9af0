"""Signatures as others see them: the reference library, Svix's, and a program in another language (§2.4, 1)."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from payonce.webhooks.signing import Signing, new_secret, public_key, signed_headers
from tests.webhooks.verifiers import by_cryptography, by_node, by_reference

BODY = '{"type":"payment.captured","note":"₹"}'.encode()
BODIES = {
    "ascii": b'{"type":"payment.captured"}',
    "unicode": '{"note":"₹10.99 – नमस्ते 🎉 \\u0000"}'.encode(),
    "empty data": b'{"data":{}}',
    "20 kB": json.dumps({"note": "x" * 20_000}).encode(),
}

Verify = Callable[[bytes, dict[str, str], str], bool]


def signed(body: bytes, *keys: str, at: datetime | None = None) -> dict[str, str]:
    return signed_headers(event_id="evt_1", at=at or datetime.now(UTC), body=body, signing_secrets=keys)


def by_svix(body: bytes, headers: dict[str, str], key: str) -> bool:
    try:
        SvixWebhook(key).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


SYMMETRIC: list[Verify] = [by_reference, by_svix, by_node]
ASYMMETRIC: list[Verify] = [by_cryptography, by_node]


@pytest.mark.parametrize("verify", SYMMETRIC)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_others_verify_v1_and_nothing_that_was_changed(verify: Verify, body: bytes) -> None:
    secret = new_secret()
    headers = signed(body, secret)

    assert verify(body, headers, secret)
    assert not verify(body + b" ", headers, secret)
    assert not verify(body, {**headers, "webhook-id": "evt_2"}, secret)
    assert not verify(body, headers, new_secret())


@pytest.mark.parametrize("verify", ASYMMETRIC)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_others_verify_v1a_with_the_public_key_alone(verify: Verify, body: bytes) -> None:
    signing_key = new_secret(Signing.ED25519)
    headers = signed(body, signing_key)

    assert verify(body, headers, public_key(signing_key))
    assert not verify(body + b" ", headers, public_key(signing_key))
    assert not verify(body, {**headers, "webhook-id": "evt_2"}, public_key(signing_key))
    assert not verify(body, headers, public_key(new_secret(Signing.ED25519)))


@pytest.mark.parametrize("verify", SYMMETRIC)
def test_while_a_secret_is_replaced_the_old_one_and_the_new_one_both_verify(verify: Verify) -> None:
    old, new = new_secret(), new_secret()
    headers = signed(BODY, new, old)

    assert verify(BODY, headers, old)
    assert verify(BODY, headers, new)
    assert not verify(BODY, headers, new_secret())


@pytest.mark.parametrize("verify", ASYMMETRIC)
def test_while_a_key_pair_is_replaced_both_public_keys_verify(verify: Verify) -> None:
    old, new = new_secret(Signing.ED25519), new_secret(Signing.ED25519)
    headers = signed(BODY, new, old)

    assert verify(BODY, headers, public_key(old))
    assert verify(BODY, headers, public_key(new))


@pytest.mark.parametrize("verify", SYMMETRIC)
@pytest.mark.parametrize("away", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_an_attempt_long_ago_or_ahead_is_refused_by_others(verify: Verify, away: timedelta) -> None:
    secret = new_secret()

    assert not verify(BODY, signed(BODY, secret, at=datetime.now(UTC) + away), secret)


@pytest.mark.parametrize(("signing", "prefix", "length"), [("hmac", "whsec_", 32), ("ed25519", "whsk_", 64)])
def test_a_secret_is_random_bytes_in_the_format_of_standard_webhooks(
    signing: str, prefix: str, length: int
) -> None:
    secrets = {new_secret(Signing(signing)) for _ in range(50)}

    assert len(secrets) == 50
    for secret in secrets:
        assert secret.startswith(prefix)
        assert len(base64.b64decode(secret.removeprefix(prefix), validate=True)) == length


def test_the_v1_signature_is_that_of_the_specification() -> None:
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


def test_the_key_pair_is_that_of_rfc_8032() -> None:
    # Source: RFC 8032 §7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

    assert (
        public_key("whsk_" + base64.b64encode(seed).decode()) == "whpk_" + base64.b64encode(public).decode()
    )


def test_the_v1a_signature_is_that_of_its_first_implementation() -> None:
    # Source: the golden vector of Svix's server for asymmetric keys.
    key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    headers = signed_headers(
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        signing_secrets=[key],
    )

    assert public_key(key) == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    assert headers["webhook-signature"] == (
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    )


def test_the_headers_have_the_form_of_the_specification() -> None:
    headers = signed(BODY, new_secret(), new_secret(Signing.ED25519))

    assert re.fullmatch(r"[0-9]{10}", headers["webhook-timestamp"])
    assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}= v1a,[A-Za-z0-9+/]{86}==", headers["webhook-signature"])
