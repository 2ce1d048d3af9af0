"""`payonce reconcile`: compares, shows, and takes a person's word, which is in the audit log."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from payonce.cli import app
from payonce.cli.base import operator_name
from payonce.reconciling.reading import Stopped
from tests.storage.ledger import DERIVATION_KEY, IDS, Ledger
from tests.storage.reconciling.shop import Shop
from tests.storage.reconciling.sides import ACCOUNT
from tests.support.servers import ACQUIRER_KEY as KEY


@pytest.fixture(autouse=True)
def environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payonce.cli.reconciliation.logging.configure", lambda **_: None)
    monkeypatch.setenv("PAYONCE_DATABASE_URL", shop.ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)
    monkeypatch.setenv("PAYONCE_SANDBOX_ACQUIRER_URL", str(shop.acquirer.client.base_url))
    monkeypatch.setenv("PAYONCE_SANDBOX_ACQUIRER_KEY", KEY)


async def typed(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["reconcile", *arguments])


async def done(*arguments: str) -> Any:
    ran = await typed(*arguments, "--json")
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return json.loads(ran.stdout.splitlines()[-1])  # the log stands before it: nobody set it up


async def last_entry(ledger: Ledger) -> Any:
    found = await ledger.rows(
        "SELECT action, actor, subject, members FROM audit.entries LEFT JOIN audit.personal ON entry_id = id"
        " ORDER BY transaction_id DESC LIMIT 1"
    )
    return found[0]


async def test_every_account_that_has_a_list_is_compared() -> None:
    ran = await done("run")
    compared = {one["account"]: one["charges"] for one in ran["accounts"]}
    assert compared == {"sandbox_card": 0, "sandbox_upi": 0, "sandbox_wallet": 0}
    assert {one["account"] for one in (await done("show"))["runs"]} == compared.keys()


async def test_an_account_that_cannot_be_compared_is_exit_status_1(shop: Shop) -> None:
    await shop.acquirer.stop()
    ran = await typed("run", "--account", "sandbox_card")
    assert ran.exit_code == 1
    assert "sandbox_card" in ran.stdout


async def test_a_person_settles_a_finding_once(shop: Shop) -> None:
    await shop.charges(IDS.payment(merchant_id="mer_1", mode="test", key="forgotten"))
    await shop.paid()
    await shop.reconciled()
    (found,) = (await done("show"))["found"]
    assert found["result"] == "orphan"
    await done("settle", found["id"], "--why", "ticket 7")
    entry = await last_entry(shop.ledger)
    assert (entry.action, entry.subject) == ("reconciliation.settled", found["id"])
    assert (entry.actor, entry.members) == (operator_name(), {"why": "ticket 7"})
    assert (await done("show"))["found"] == []
    assert [one["settled_by"] for one in (await done("show", "--result", "orphan"))["found"]] == [
        operator_name()
    ]
    assert (await typed("settle", found["id"])).exit_code == 1


async def test_a_person_lets_a_stopped_account_be_compared_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payonce.reconciling.reading.CLOCKS_DIFFER", -shop.later)
    assert (await typed("allow", ACCOUNT)).exit_code == 1
    await shop.paid()
    await shop.charges(IDS.payment(merchant_id="mer_1", mode="test", key="after the dump"))
    with pytest.raises(Stopped):
        await shop.reconciled()
    assert "STOPPED (restored)" in (await typed("show")).stdout
    await done("allow", ACCOUNT, "--why", "restored on purpose")
    assert (await last_entry(shop.ledger)).action == "reconciliation.allowed"
    assert "STOPPED" not in (await typed("show")).stdout
