"""`payonce risk`, as an operator types it: what cannot do anything is refused, and says why."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from payonce.cli import app
from payonce.domain.errors import PaymentError
from payonce.domain.risk_rules import CONDITIONS_MAX, RULES_MAX
from payonce.storage import risk_lists
from tests.storage.ledger import DERIVATION_KEY, Ledger

SERVICE = "https://risk.shop.example/payments"


@pytest.fixture(autouse=True)
def environment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)


async def typed(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["risk", *arguments])


async def done(*arguments: str) -> str:
    ran = await typed(*arguments)
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return ran.stdout


async def refused(*arguments: str) -> str:
    """Why, in words."""
    ran = await typed(*arguments)
    assert isinstance(ran.exception, PaymentError), (ran.output, ran.exception)
    return ran.exception.message


async def told(ledger: Ledger) -> list[Any]:
    """What the audit log has."""
    return [
        row.details for row in await ledger.rows("SELECT details FROM audit.entries ORDER BY transaction_id")
    ]


async def test_a_provider_that_asks_a_service_is_set_once_there_is_one(ledger: Ledger) -> None:
    choice = ("set", ledger.merchant_id, "--provider", "rules", "--provider", "http")
    assert "payonce risk service" in await refused(*choice)
    assert json.loads(await done("show", ledger.merchant_id, "--json"))["providers"] == []
    await done("service", ledger.merchant_id, "--url", SERVICE)
    await done(*choice)
    assert "payonce risk service" in await refused(*choice, "--mode", "live")


async def test_the_sandboxs_provider_is_set_in_test_mode_only(ledger: Ledger) -> None:
    choice = ("set", ledger.merchant_id, "--provider", "sandbox")
    await done(*choice)
    assert "test mode" in await refused(*choice, "--mode", "live")


async def test_what_is_listed_is_in_the_audit_log_but_for_its_value(ledger: Ledger) -> None:
    await done("lists", "add", ledger.merchant_id, "block", "email", "Ada@Example.org")
    await done("lists", "remove", ledger.merchant_id, "email", "ada@example.org")
    await done("lists", "remove", ledger.merchant_id, "email", "ada@example.org")
    assert await told(ledger) == [
        {"list": "block", "kind": "email"},
        {"list": None, "kind": "email", "was_there": True},
        {"list": None, "kind": "email", "was_there": False},
    ]


async def test_a_list_has_an_end(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_lists, "ENTRIES_MAX", 2)
    add = ("lists", "add", ledger.merchant_id)
    await done(*add, "block", "customer", "c-1")
    await done(*add, "block", "customer", "c-2")
    assert "at most 2" in await refused(*add, "block", "customer", "c-3")
    await done(*add, "allow", "customer", "c-2")  # it is there, and goes to another list
    await done(*add, "block", "customer", "c-9", "--mode", "live")


@pytest.mark.parametrize(
    "command",
    [
        ("set", "mer_nobody", "--off"),
        ("rules", "set", "mer_nobody", "--default"),
        ("lists", "add", "mer_nobody", "block", "email", "ada@example.org"),
        ("lists", "remove", "mer_nobody", "email", "ada@example.org"),
        ("lists", "add", "mer_nobody", "block", "card-of", "pay_1"),
        ("service", "mer_nobody", "--url", SERVICE),
    ],
)
async def test_who_is_no_merchant_is_named(ledger: Ledger, command: tuple[str, ...]) -> None:
    assert await refused(*command) == "There is no merchant mer_nobody."
    assert await told(ledger) == []


async def test_as_many_rules_as_there_may_be_are_written_and_audited(ledger: Ledger, tmp_path: Path) -> None:
    velocity = {"of": "card", "count": "declines", "within_s": 86_400, "more_than": 999, "share_over": 99}
    rules = [
        {
            "name": f"r{number}".ljust(100, "x"),
            "verdict": "challenge",
            "velocities": [velocity] * CONDITIONS_MAX,
            "amount_over": 10**9,
            "currency": "INR",
        }
        for number in range(RULES_MAX)
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    await done("rules", "set", ledger.merchant_id, str(file))
    assert json.loads(await done("rules", "show", ledger.merchant_id)) == rules
    (entry,) = await told(ledger)
    whole = json.dumps(rules, ensure_ascii=False)
    assert entry == {"rules": RULES_MAX, "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    file.write_text(json.dumps(rules[:2]))
    await done("rules", "set", ledger.merchant_id, str(file))
    assert (await told(ledger))[1:] == [{"rules": rules[:2]}]


@pytest.mark.parametrize(
    "content",
    ["{}", "[1]", "no JSON", "[" * 100_000, '[{"name": "a", "verdict": "block", "methods": ["cards"]}]'],
)
async def test_a_file_that_has_no_rules_changes_nothing(ledger: Ledger, tmp_path: Path, content: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(content)
    await refused("rules", "set", ledger.merchant_id, str(file))
    await refused("rules", "set", ledger.merchant_id, str(tmp_path / "absent.json"))
    assert await told(ledger) == []
