"""What an operator decides is in the audit log, or is not decided; `payonce audit` shows, compares and erases."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg.errors import CheckViolation
from typer.testing import CliRunner, Result

from payonce.auditing import sealing
from payonce.cli import accounts, app
from payonce.cli.base import operator_name
from payonce.connectors import registry
from payonce.domain.decisions import Verdict
from payonce.domain.errors import InvalidRequest
from payonce.domain.operations import OperationKind
from payonce.receipts.store import open_store
from payonce.settings import settings_from_environment
from payonce.storage import audit_seals
from tests.storage.connector_accounts import NAME, TellingConnector
from tests.storage.deciding import decide, undecided
from tests.storage.ledger import DERIVATION_KEY, Ledger

WHY = "ticket 7"
DECIDING = {
    "db upgrade": "database.upgraded",
    "db seal": "secrets.sealed",
    "db unpack": "bodies.unpacked",
    "merchants create": "merchant.created",
    "merchants set": "merchant.changed",
    "keys create": "api_key.created",
    "keys revoke": "api_key.revoked",
    "accounts add": "connector_account.added",
    "accounts rotate": "connector_account.rotated",
    "accounts enable": "connector_account.enabled",
    "accounts disable": "connector_account.disabled",
    "risk set": "risk.changed",
    "risk rules set": "risk.changed",
    "risk lists add": "risk.changed",
    "risk lists remove": "risk.changed",
    "risk service": "risk.changed",
    "bins import": "issuers.imported",
    "webhooks replay": "webhooks.replayed",
    "review decide": "review.decided",
    "vault rotate": "vault.rotation_ended",
    "receipts erase": "receipts.erased",
    "reconcile settle": "reconciliation.settled",
    "reconcile allow": "reconciliation.allowed",
    "audit erase": "audit.personal_erased",
}
READING = {
    *(
        "merchants list",
        "keys list",
        "accounts list",
        "accounts show",
        "accounts check",
        "bins status",
        "risk show",
        "risk rules show",
        "risk lists show",
        "payments export",
    ),
    *("webhooks verify", "webhooks deliveries", "review list", "review show", "vault status"),
    *("reconcile run", "reconcile show"),
    *("audit list", "audit verify", "listen", "trigger"),  # the last two ask the API, with a key
}


@pytest.fixture(autouse=True)
def environment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry._BUILT_IN, NAME, TellingConnector)
    monkeypatch.setattr(accounts, "_did", lambda *_: None)  # it sets up logging, for other tests too
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)
    monkeypatch.setenv("PAYONCE_RECEIPTS_URL", (tmp_path / "store").as_uri())


async def typed(*arguments: str, secrets: str = "") -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments], secrets)


async def done(*arguments: str, secrets: str = "") -> Any:
    ran = await typed(*arguments, secrets=secrets)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    if "--json" not in arguments:
        return ran.stdout
    objects = [json.loads(line) for line in ran.stdout.splitlines()]
    return objects[0] if len(objects) == 1 else objects


async def entries(ledger: Ledger) -> list[Any]:
    return list(
        await ledger.rows(
            "SELECT id, action, actor_kind, actor, subject, merchant_id, mode, details, members"
            " FROM audit.entries LEFT JOIN audit.personal ON entry_id = id ORDER BY transaction_id"
        )
    )


def test_every_command_is_known_to_decide_or_to_read() -> None:
    def names(group: Any, before: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from names(command, f"{before}{name} ")
            else:
                yield f"{before}{name}"

    found = set(names(typer.main.get_command(app)))
    assert found == {*DECIDING, *READING}
    assert all(takes_why(name) for name in DECIDING)


def takes_why(name: str) -> bool:
    command: Any = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]
    return any("--why" in parameter.opts for parameter in command.params)


async def make(name: str, ledger: Ledger, folder: Path) -> list[str]:
    """The arguments of the command, with what it is about in place."""
    match name:
        case "merchants create":
            return ["--name", "Another"]
        case "merchants set":
            return [ledger.merchant_id, "--return-origin", "https://shop.example"]
        case "risk set":
            return [ledger.merchant_id, "--without-answer", "closed"]
        case "risk rules set":
            return [ledger.merchant_id, "--default"]
        case "keys create":
            return ["--merchant", ledger.merchant_id]
        case "keys revoke":
            key = await done("keys", "create", "--merchant", ledger.merchant_id, "--json")
            return [key["id"]]
        case "accounts add":
            return [NAME]
        case "accounts rotate" | "accounts enable" | "accounts disable":
            account = await done("accounts", "add", NAME, "--json", secrets=SECRETS)
            return [account["id"]]
        case "bins import":
            file = folder / "bins.csv"
            file.write_text("first,last,country\n52,55,US\n")
            return [str(file)]
    return []


SECRETS = "key=shop:1\ncallbacks=signs-1\n"
SIMPLE = sorted(
    set(DECIDING)
    - {"db upgrade", "webhooks replay", "review decide", "vault rotate", "audit erase", "receipts erase"}
    - {"risk lists add", "risk lists remove", "risk service"}
    - {"reconcile settle", "reconcile allow"}  # tests/storage/reconciling/test_reconcile_command.py
)


@pytest.mark.parametrize("name", SIMPLE)
async def test_a_command_that_decides_says_who_what_and_why(
    name: str, ledger: Ledger, tmp_path: Path
) -> None:
    arguments = await make(name, ledger, tmp_path)

    await done(*name.split(), *arguments, "--why", WHY, secrets=SECRETS)

    entry = (await entries(ledger))[-1]
    assert (entry.action, entry.actor_kind, entry.actor) == (DECIDING[name], "person", operator_name())
    assert entry.members == {"why": WHY}
    assert "shop:1" not in json.dumps(entry.details)
    if name.startswith(("merchants", "keys")) and name != "merchants create":
        assert entry.merchant_id == ledger.merchant_id


@pytest.mark.parametrize("name", SIMPLE)
async def test_a_decision_that_the_log_does_not_take_is_not_made(
    name: str, ledger: Ledger, tmp_path: Path
) -> None:
    arguments = await make(name, ledger, tmp_path)
    await ledger.rows("ALTER TABLE audit.entries ADD CONSTRAINT full_by_now CHECK (false) NOT VALID")
    before = await everything(ledger)

    ran = await typed(*name.split(), *arguments, secrets=SECRETS)

    assert ran.exit_code != 0
    assert await everything(ledger) == before


async def everything(ledger: Ledger) -> list[Any]:
    """What these commands change."""
    tables = (
        "merchants",
        "api_keys",
        "connector_accounts",
        "connector_secrets",
        "issuer_table",
        "webhook_secrets",
    )
    return [sorted(str(row) for row in await ledger.rows(f"SELECT * FROM {table}")) for table in tables]


async def test_a_review_is_decided_with_its_entry_or_not_at_all(ledger: Ledger) -> None:
    refund = await undecided(ledger, OperationKind.REFUND)
    full = "ALTER TABLE audit.entries ADD CONSTRAINT full_by_now CHECK (false) NOT VALID"
    await ledger.rows(full)
    with pytest.raises(CheckViolation):
        await decide(ledger, refund, Verdict.NOT_PAID)
    assert await ledger.count("decisions") == 0
    await ledger.rows("ALTER TABLE audit.entries DROP CONSTRAINT full_by_now")

    await decide(ledger, refund, Verdict.NOT_PAID, key="once")
    await decide(ledger, refund, Verdict.NOT_PAID, key="once")  # changes nothing

    ((entry),) = await entries(ledger)
    assert (entry.action, entry.subject, entry.merchant_id) == (
        "review.decided",
        refund.id,
        ledger.merchant_id,
    )
    assert entry.details["verdict"] == "not_paid"
    assert entry.members["why"]


async def test_the_list_is_newest_first_and_takes_filters() -> None:
    first = await done("merchants", "create", "--name", "One", "--json", "--why", WHY)
    second = await done("merchants", "create", "--name", "Two", "--json")

    assert [each["subject"] for each in await listed()] == [second["id"], first["id"]]
    assert [each["why"] for each in await listed("--merchant", first["id"])] == [WHY]
    assert len(await listed("--limit", "1")) == 1
    assert await listed("--action", "api_key.revoked") == []
    assert await listed("--until", "2026-01-02T00:00:00Z", "--since", soon_ago()) == []
    assert WHY in await done("audit", "list", "--actor", operator_name(), "--subject", first["id"])


def soon_ago() -> str:
    return (datetime(2026, 1, 2, tzinfo=UTC) - timedelta(days=1)).isoformat()


async def test_verify_agrees_until_something_is_changed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await done("merchants", "create", "--name", "One", "--json")
    await hour_ends(ledger, monkeypatch)
    agreed = await done("audit", "verify", "--json")
    assert (agreed["agrees"], agreed["seals"], agreed["entries"]) == (True, 1, 1)

    await ledger.rows("ALTER TABLE audit.entries DISABLE TRIGGER USER")
    await ledger.rows("UPDATE audit.entries SET actor = 'nobody'")

    ran = await typed("audit", "verify")
    ((entry),) = await entries(ledger)
    assert ran.exit_code == 1
    assert f"changed: {entry.id}" in ran.output
    assert entry.subject == made["id"]


async def test_without_a_receipt_store_verify_says_with_what_it_compared(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYONCE_RECEIPTS_URL")
    await hour_ends(ledger, monkeypatch, store=False)
    assert "the database's own seals only" in await done("audit", "verify")


async def test_erasing_takes_the_reason_away_and_verify_agrees(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done("merchants", "create", "--name", "One", "--why", "Mr Ruiz rang")
    await hour_ends(ledger, monkeypatch)
    ((entry),) = await entries(ledger)

    await done("audit", "erase", entry.id, "--why", "he asked for it")

    assert "Ruiz" not in await done("audit", "list", "--json")
    erased = (await listed("--subject", entry.id))[0]
    assert (erased["action"], erased["why"]) == ("audit.personal_erased", "he asked for it")
    assert "agree" in await done("audit", "verify")
    again = await typed("audit", "erase", entry.id)
    assert "has no personal members" in str(again.exception)
    assert len(await listed()) == 2


@pytest.mark.parametrize("why", ["4242424242424242", "x" * 501, "a\x07"])
async def test_a_reason_that_is_not_to_be_kept_decides_nothing(ledger: Ledger, why: str) -> None:
    ran = await typed("merchants", "create", "--name", "One", "--why", why)
    assert isinstance(ran.exception, InvalidRequest)
    assert await entries(ledger) == []
    assert await ledger.count("merchants") == 1


async def listed(*arguments: str) -> list[Any]:
    ran = await done("audit", "list", *arguments, "--json")
    return [ran] if isinstance(ran, dict) else ran


async def hour_ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, store: bool = True) -> None:
    """And is sealed, and told."""

    async def open_hour(_: Any) -> datetime:
        return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    monkeypatch.setattr(audit_seals, "open_hour", open_hour)
    await sealing.seal(ledger.database)
    await sealing.tell(ledger.database, open_store(settings_from_environment()) if store else None)
