"""`payonce webhooks`: what an operator types, as a process of its own."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payonce.sealing import Sealer, SealingKey
from payonce.storage.webhooks.redeliveries import find_job
from payonce.storage.webhooks.secrets import active_secrets
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.signing import new_secret, signed_headers
from tests.support.forks import Ran, ran
from tests.webhooks.shop import DERIVATION_KEY, Shop

WITHIN_S = 60.0
BODY = '{"note":"₹10.99"}\n'.encode()
SECRET = new_secret()


async def payonce(*arguments: str, environ: dict[str, str] | None = None) -> Ran:
    """What the command printed, and its exit status."""
    environ = {"NO_COLOR": "1", **(environ or {})}
    return await ran("tests.support.command", *arguments, environ=environ, within_s=WITHIN_S)


def operators(shop: Shop) -> dict[str, str]:
    """The environment of an operator's command."""
    return {
        "PAYONCE_DATABASE_URL": shop.database_url,
        "PAYONCE_REDIS_URL": "redis://127.0.0.1:1",
        "PAYONCE_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PAYONCE_DERIVATION_KEY": DERIVATION_KEY,
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with a request as it was received, in both forms."""
    headers = signed_headers(event_id="evt_1", at=datetime.now(UTC), body=BODY, signing_secrets=[SECRET])
    lines = [f"{name.title()}: {value}" for name, value in headers.items()]
    (tmp_path / "headers").write_text("\n".join(["POST /hooks?at=1:2 HTTP/1.1", *lines]))
    (tmp_path / "body").write_bytes(BODY)
    head = ["POST /hooks HTTP/1.1", "Host: shop.example", f"Content-Length: {len(BODY)}", *lines]
    (tmp_path / "request").write_bytes(
        "\r\n".join([*head, "", ""]).encode() + BODY + b"what an editor added\n"
    )
    return tmp_path


async def test_a_saved_request_is_verified_in_either_form(saved: Path) -> None:
    parts = ("--headers", str(saved / "headers"), "--body", str(saved / "body"))
    whole = ("--request", str(saved / "request"))
    for files in (parts, whole):
        assert await payonce("webhooks", "verify", "--secret", SECRET, *files) == Ran(0, "valid\n", "")
    from_environment = await payonce("webhooks", "verify", *whole, environ={"PAYONCE_WEBHOOK_SECRET": SECRET})
    assert from_environment.status == 0


async def test_a_request_that_is_not_valid_is_exit_status_1_with_the_reason(saved: Path) -> None:
    other = await payonce("webhooks", "verify", "--secret", new_secret(), "--request", str(saved / "request"))
    assert (other.status, other.out) == (1, "")
    assert other.error.startswith("not valid: the signature is wrong")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--secret", "nonsense", "--request", "request"], "begins with whsec_"),
        (["--secret", SECRET, "--request", "nothing"], "cannot be read"),
        (["--secret", SECRET, "--headers", "headers"], "--request"),
    ],
)
async def test_what_cannot_be_verified_is_said(saved: Path, arguments: Sequence[str], words: str) -> None:
    at = [str(saved / text) if text in ("request", "nothing", "headers") else text for text in arguments]
    ran = await payonce("webhooks", "verify", *at)
    assert (ran.status, ran.out) == (1, "")
    assert words in ran.error


async def test_an_operator_sees_every_attempt_with_what_was_answered(shop: Shop) -> None:
    endpoint = await shop.endpoint("https://shop.example/hooks")
    await shop.record("payment.authorized")
    attempt: dict[str, Any] = {
        "at": "2026-11-22T05:46:00.000Z",
        "status_code": 500,
        "duration_ms": 12,
        "error": "unsuccessful_status",
        "body": "out of\norder",
        "ip": "93.184.215.14",
    }
    await shop.execute("UPDATE webhook_deliveries SET attempts = CAST(:x AS jsonb)", x=json.dumps([attempt]))
    told = await payonce("webhooks", "deliveries", "--endpoint", endpoint.id, environ=operators(shop))
    assert told.status == 0, told.error
    assert "payment.authorized  pending (event, relay), next attempt " in told.out
    assert '500  unsuccessful_status  12 ms at 93.184.215.14: "out of\\norder"' in told.out
    none = await payonce(
        *("webhooks", "deliveries", "--endpoint", endpoint.id, "--status", "exhausted"),
        environ=operators(shop),
    )
    assert (none.status, none.out) == (0, "")


async def test_a_replay_is_a_job_that_waits_to_be_started(shop: Shop) -> None:
    endpoint = await shop.endpoint("https://shop.example/hooks")
    await shop.record("payment.authorized", "payment.captured")
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    ran = await payonce(
        *("webhooks", "replay", "--endpoint", endpoint.id, "--since", since),
        *("--type", "payment.captured", "--json"),
        environ=operators(shop),
    )
    assert ran.status == 0, ran.error
    async with shop.database.transaction() as connection:
        job = await find_job(connection, json.loads(ran.out)["id"], merchant_id=shop.merchant.id, mode="test")
    assert job is not None
    assert (job.kind, job.state, job.types, job.total) == ("replay", "pending", ("payment.captured",), 1)
    assert (job.endpoint_id, job.since.isoformat()) == (endpoint.id, since)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "--since must be a time"),
        (["--since", "2026-01-31T12:00:00"], "time zone"),
        (["--since", "2020-01-31T12:00:00Z"], "at most 30 days ago"),
        (["--since", "2999-01-31T12:00:00Z"], "before --until"),
    ],
)
async def test_a_replay_of_no_time_is_refused(shop: Shop, arguments: Sequence[str], words: str) -> None:
    endpoint = await shop.endpoint("https://shop.example/hooks")
    ran = await payonce(
        *("webhooks", "replay", "--endpoint", endpoint.id, *arguments), environ=operators(shop)
    )
    assert ran.status == 1
    assert words in ran.error


async def test_a_replay_to_an_endpoint_that_takes_nothing_is_refused(shop: Shop) -> None:
    since = ("--since", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    disabled = await shop.endpoint("https://shop.example/hooks", enabled=False)
    ran = await payonce("webhooks", "replay", "--endpoint", disabled.id, *since, environ=operators(shop))
    assert (ran.status, "is disabled" in ran.error) == (1, True)
    ran = await payonce("webhooks", "replay", "--endpoint", "we_nobody", *since, environ=operators(shop))
    assert (ran.status, "There is no webhook endpoint we_nobody" in ran.error) == (1, True)


async def test_secrets_in_the_clear_are_sealed_and_then_sealed_again_with_a_new_key(shop: Shop) -> None:
    endpoint = await shop.endpoint("https://merchant.example/")
    await shop.execute("DELETE FROM webhook_secrets")
    await shop.execute("UPDATE webhook_endpoints SET secret = 'whsec_plain'")
    key = base64.b64encode(b"k" * 32).decode()
    added = {"PAYONCE_WEBHOOK_SEALING_KEYS": json.dumps([{"id": "added", "key": key}])}

    for command, environ in (("upgrade", {}), ("seal", added)):
        ran = await payonce("db", command, environ={**operators(shop), **environ})
        assert (ran.status, ran.error) == (0, "")

    async with shop.database.transaction() as connection:
        found = (await active_secrets(connection, [endpoint.id]))[endpoint.id]
    assert SigningSecrets(Sealer([SealingKey("added", b"k" * 32)])).of(found) == ("whsec_plain",)
