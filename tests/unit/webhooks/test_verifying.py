"""Verdicts on a saved request: each fault has its own words, and what is right is never called wrong."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from payonce.webhooks.signing import Signing, new_secret, public_key, signed_headers
from payonce.webhooks.verifying import InvalidKey, fault_of

NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
BODY = '{"note":"₹10.99"}'.encode()
SECRET, OTHER, SIGNING_KEY = new_secret(), new_secret(), new_secret(Signing.ED25519)

Headers = dict[str, str]


def signed(*keys: str, at: datetime = NOW) -> Headers:
    return signed_headers(event_id="evt_1", at=at, body=BODY, signing_secrets=keys)


def judged(
    headers: Headers, body: bytes = BODY, *, key: str = SECRET, tolerance_s: float = 300
) -> str | None:
    return fault_of(headers, body, key=key, now=NOW, tolerance_s=tolerance_s)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        (signed(SECRET), SECRET),
        (signed(OTHER, SECRET), SECRET),
        (signed(SIGNING_KEY), public_key(SIGNING_KEY)),
        (signed(SECRET, SIGNING_KEY), public_key(SIGNING_KEY)),
        ({name.title(): f" {value} " for name, value in signed(SECRET).items()}, SECRET),
        (signed(SECRET, at=NOW - timedelta(seconds=300)), SECRET),
        (signed(SECRET, at=NOW + timedelta(seconds=300)), SECRET),
    ],
    ids=["hmac", "one of two secrets", "ed25519", "one of two ways", "other spelling", "old", "early"],
)
def test_a_request_that_was_signed_with_the_key_is_valid(headers: Headers, key: str) -> None:
    assert judged(headers, key=key) is None


@pytest.mark.parametrize("key", [SECRET, public_key(SIGNING_KEY)], ids=["hmac", "ed25519"])
@pytest.mark.parametrize(
    "change",
    [
        lambda headers: (headers, BODY + b" "),
        lambda headers: (headers, BODY[:-1]),
        lambda headers: ({**headers, "webhook-id": "evt_2"}, BODY),
        lambda headers: ({**headers, "webhook-timestamp": str(int(NOW.timestamp()) + 1)}, BODY),
        lambda headers: ({**headers, **{"webhook-signature": signed(OTHER)["webhook-signature"]}}, BODY),
    ],
)
def test_a_request_that_was_changed_is_not_valid(
    key: str, change: Callable[[Headers], tuple[Headers, bytes]]
) -> None:
    headers, body = change(signed(SECRET, SIGNING_KEY))
    assert judged(headers, body, key=key)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = {other: value for other, value in signed(SECRET).items() if other != name}
    assert judged(headers) == f"there is no header {name}"


def test_every_missing_header_is_named() -> None:
    assert judged({}) == "there is no header webhook-id and no webhook-timestamp and no webhook-signature"


def test_an_old_request_is_told_from_a_forged_one() -> None:
    old = signed(SECRET, at=NOW - timedelta(seconds=301))
    assert judged(old) == "the signature is right, but 301 s old: more than 300 s"
    assert judged(old, tolerance_s=600) is None
    assert "in the future" in str(judged(signed(SECRET, at=NOW + timedelta(seconds=301))))


def test_a_line_break_that_an_editor_added_is_found_out() -> None:
    assert "line break" in str(judged(signed(SECRET), BODY + b"\n"))
    assert "line break" in str(judged(signed(SIGNING_KEY), BODY + b"\r\n", key=public_key(SIGNING_KEY)))


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("v1a,AAAA", "no v1 signature"),
        ("v1", "not base64"),
        ("v1,???", "not base64"),
        ("v1,é", "not base64"),
        ("nonsense", "no v1 signature"),
        (" ".join(["v1,AAAA"] * 100), "wrong"),
    ],
)
def test_a_strange_signature_is_a_fault_and_no_crash(signature: str, words: str) -> None:
    assert words in str(judged({**signed(SECRET), "webhook-signature": signature}))


def test_a_strange_timestamp_is_a_fault_and_no_crash() -> None:
    for timestamp in ("soon", "-1", "1e9", "٣", "9" * 400):
        assert judged({**signed(SECRET), "webhook-timestamp": timestamp})


@pytest.mark.parametrize(
    "key",
    [
        "",
        "secret",
        "whsec_",
        "whsec_???",
        "whpk_" + base64.b64encode(b"short").decode(),
        pytest.param(SIGNING_KEY, id="whsk"),
    ],
)
def test_what_is_no_key_is_said(key: str) -> None:
    with pytest.raises(InvalidKey):
        judged(signed(SECRET), key=key)
