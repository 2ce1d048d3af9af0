"""What live mode refuses, one rule at a time: looked at with live mode off, and refusing the start with it on."""

import secrets
from base64 import b64encode
from typing import Any

import pytest

from payonce.live import LiveRefused, check_live, refusals
from payonce.runtime import open_runtime
from payonce.settings import Settings

ACCOUNT = {
    "id": "acme",
    "connector": "acme_pay",
    "mode": "live",
    "base_url": "https://acme.example",
    "key": "k",
}
FIT: dict[str, Any] = {
    "database_url": "postgresql+psycopg://payonce:p%40ss@db1:5432,db2/payonce?sslmode=verify-full",
    "redis_url": "rediss://redis.internal:6379/0",
    "temporal_address": "temporal.internal:7233",
    "temporal_tls": True,
    "derivation_key": "2dd8b1a6f55f3e0af6a27c3f0d9e41b7",
    "durability": "storage",
    "public_url": "https://pay.example",
    "connector_accounts": (ACCOUNT,),
}
SOCKET = "postgresql+psycopg:///payonce?host=/run/postgresql"

Changes = dict[str, Any]


def _sealing(key: bytes) -> dict[str, str]:
    return {"id": f"key-{key[0]}", "key": b64encode(key).decode()}


DRAWN = _sealing(bytes.fromhex("9f2c4be07d1a836655c0e1f7a2b93d488e10c7f45b6a29d3017ce8ab54f6d21f"))

REFUSED: list[tuple[str, Changes]] = [
    ("PAYONCE_RECEIPTS_URL", {"receipts_url": "file:///var/lib/receipts"}),
    ("PAYONCE_RECEIPTS_ENCRYPTION", {"receipts_url": "s3://receipts", "receipts_encryption": "none"}),
    (
        "PAYONCE_RECEIPTS_ENDPOINT",
        {"receipts_url": "s3://receipts", "receipts_endpoint": "http://s3.example"},
    ),
    ("PAYONCE_VAULT_KEY_FILE", {"vault_key_file": __file__}),
    (
        "PAYONCE_VAULT_TRANSIT_URL",
        {"vault_transit_url": "http://bao:8200", "vault_transit_token_file": __file__},
    ),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "a" * 32}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "a" * 31 + "b"}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "ab" * 40}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "tests-only-" * 4}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "changeme1234" * 3 + "chang"}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "0123456789abcdef" * 2}),
    ("PAYONCE_DERIVATION_KEY", {"derivation_key": "abcdefghijklmnopqrstuvwxyz012345"}),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg://payonce@db/payonce"}),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg://payonce@127.0.0.1/payonce"}),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg://payonce@db/payonce?sslmode=prefer"}),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg://payonce@db/payonce?sslmode=require"}),
    (
        "PAYONCE_DATABASE_URL",
        {"database_url": "postgresql+psycopg://db/p?sslmode=verify-full&sslmode=disable"},
    ),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg://db/payonce?host=/run/postgresql"}),
    ("PAYONCE_DATABASE_URL", {"database_url": SOCKET + "&host=db"}),
    # Source: libpq. It takes a list of hosts, and goes to `hostaddr` whatever the host is called.
    ("PAYONCE_DATABASE_URL", {"database_url": SOCKET + ",db"}),
    ("PAYONCE_DATABASE_URL", {"database_url": SOCKET + "&hostaddr=10.0.0.1"}),
    ("PAYONCE_DATABASE_URL", {"database_url": SOCKET + "&service=elsewhere"}),
    ("PAYONCE_DATABASE_URL", {"database_url": "postgresql+psycopg:///payonce"}),
    ("PAYONCE_API_DATABASE_URL", {"api_database_url": "postgresql+psycopg://payonce_api@db/payonce"}),
    ("PAYONCE_API_DATABASE_URL", {"api_database_url": SOCKET + "&host=db"}),
    ("PAYONCE_REDIS_URL", {"redis_url": "redis://redis.internal:6379/0"}),
    ("PAYONCE_REDIS_URL", {"redis_url": "rediss://redis.internal:6379/0?ssl_cert_reqs=none"}),
    ("PAYONCE_REDIS_URL", {"redis_url": "rediss://redis.internal:6379/0?ssl_check_hostname=false"}),
    ("PAYONCE_TEMPORAL_TLS", {"temporal_tls": False}),
    ("PAYONCE_CONNECTOR_ACCOUNTS", {"connector_accounts": ({**ACCOUNT, "base_url": "http://acme.example"},)}),
    ("PAYONCE_CONNECTOR_ACCOUNTS", {"connector_accounts": ({**ACCOUNT, "connector": "sandbox_card"},)}),
    ("PAYONCE_CONNECTOR_ACCOUNTS", {"connector_accounts": ({**ACCOUNT, "key": ""},)}),
    (
        "PAYONCE_CONNECTOR_ACCOUNTS",
        {"connector_accounts": ({**ACCOUNT, "key": "sandbox-acquirer-key"},)},
    ),
    (
        "PAYONCE_CONNECTOR_ACCOUNTS",
        {"connector_accounts": ({**ACCOUNT, "options": {"callback_url": "http://api.internal/x"}},)},
    ),
    # Of an account in test mode too: its key would be seen.
    (
        "PAYONCE_CONNECTOR_ACCOUNTS",
        {"connector_accounts": (ACCOUNT, {**ACCOUNT, "id": "t", "mode": "test", "base_url": "http://acme"})},
    ),
    (
        "PAYONCE_SANDBOX_ACQUIRER_URL",
        {"sandbox_acquirer_url": "https://a.example", "sandbox_acquirer_key": "k"},
    ),
    ("PAYONCE_PUBLIC_URL", {"public_url": None}),
    ("PAYONCE_PUBLIC_URL", {"public_url": "http://pay.example"}),
    ("PAYONCE_CALLBACKS_URL", {"callbacks_url": "http://api:8080"}),
    ("PAYONCE_WEBHOOK_SEALING_KEYS", {"webhook_sealing_keys": (_sealing(bytes(32)),)}),
    ("PAYONCE_WEBHOOK_SEALING_KEYS", {"webhook_sealing_keys": (DRAWN, _sealing(b"changeme" * 4))}),
    ("PAYONCE_ALLOW_LOOPBACK_WEBHOOKS", {"allow_loopback_webhooks": True}),
    ("PAYONCE_ALLOW_DEBUGGERS", {"allow_debuggers": True}),
]


def settings(*, live: bool, **changes: Any) -> Settings:
    return Settings(live=live, **{**FIT, **changes})


def test_live_mode_starts_with_settings_that_fit() -> None:
    check_live(settings(live=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"database_url": SOCKET},
        {"redis_url": "unix:///run/redis.sock"},
        {"redis_url": "rediss://redis.internal:6379/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem"},
        {"temporal_tls": False, "temporal_api_key": "k"},
        {"temporal_tls": False, "temporal_tls_server_name": "temporal.internal"},
        {"callbacks_url": "https://callbacks.example"},
        {"webhook_sealing_keys": (DRAWN,)},
        {"connector_accounts": ({**ACCOUNT, "options": {"callback_url": ""}},)},  # it calls nobody
    ],
)
def test_what_crosses_no_network_and_other_spellings_of_tls_are_fit(changes: Changes) -> None:
    check_live(settings(live=True, **changes))


@pytest.mark.parametrize(("variable", "changes"), REFUSED)
def test_each_rule_of_live_mode_is_looked_at_alone(variable: str, changes: Changes) -> None:
    found = refusals(settings(live=False, **changes))
    assert [line.partition(":")[0] for line in found] == [variable]


@pytest.mark.parametrize(("variable", "changes"), REFUSED)
def test_live_mode_does_not_start_and_names_the_variable(variable: str, changes: Changes) -> None:
    check_live(settings(live=False, **changes))
    with pytest.raises(LiveRefused, match=rf"live mode refuses {variable}: "):
        check_live(settings(live=True, **changes))


async def test_a_process_in_live_mode_refuses_before_it_connects_to_anything() -> None:
    """Sockets are off here: a connection would raise something else."""
    refused = settings(live=True, redis_url="redis://redis.internal", allow_loopback_webhooks=True)
    with pytest.raises(LiveRefused, match=r"PAYONCE_REDIS_URL: .*; PAYONCE_ALLOW_LOOPBACK_WEBHOOKS: "):
        async with open_runtime(refused):
            raise AssertionError


@pytest.mark.parametrize("make", [secrets.token_hex, secrets.token_urlsafe])
def test_a_key_that_was_drawn_is_never_refused(make: Any) -> None:
    for _ in range(300):
        key = make(24)[:32]
        assert refusals(settings(live=False, derivation_key=key)) == []


def test_a_sealing_key_that_was_drawn_is_never_refused() -> None:
    for _ in range(300):
        assert refusals(settings(live=False, webhook_sealing_keys=(_sealing(secrets.token_bytes(32)),))) == []


def test_a_refusal_says_no_secret() -> None:
    given = {
        "derivation_key": "secret" * 6,
        "database_url": "postgresql+psycopg://payonce:secret@db/payonce",
        "redis_url": "redis://:secret@redis",
        "connector_accounts": ({**ACCOUNT, "key": "secret", "base_url": "http://user:secret@acme.example"},),
    }
    refused = settings(live=False, **given)
    assert len(refusals(refused)) == 4
    assert "secret" not in " ".join(refusals(refused))
    assert "secret" not in repr(refused).replace("base_url='http://user:secret@", "").replace(
        "secrets={}", ""
    )
