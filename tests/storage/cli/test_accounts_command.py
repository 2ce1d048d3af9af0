"""`payonce accounts`: what an operator types, and what is asked of the acquirer before anything is kept."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from payonce.cli import accounts, app
from payonce.connectors import registry
from payonce.domain.operations import OperationKind
from payonce.domain.truth import Truth
from payonce.storage import connector_accounts as store
from tests.storage.connector_accounts import NAME, TellingConnector
from tests.storage.ledger import DERIVATION_KEY, Ledger


@pytest.fixture(autouse=True)
def environment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILT_IN, NAME, TellingConnector)
    monkeypatch.setattr(
        accounts, "_did", lambda *_: None
    )  # it sets up logging: for the tests that follow, too
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)


async def typed(*arguments: str, secrets: str = "") -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["accounts", *arguments], secrets)


async def entered(secrets: str = "key=shop:1\ncallbacks=signs-1\n") -> Any:
    ran = await typed("add", NAME, "--json", secrets=secrets)
    assert ran.exit_code == 0, ran.exception
    return json.loads(ran.stdout)


async def test_an_account_is_added_under_its_acquirers_identity_and_shows_no_secret() -> None:
    view = await entered()
    assert (view["identity"], view["mode"], view["state"]) == ("shop", "test", "enabled")
    for command in (["list"], ["show", view["id"]], ["list", "--json"]):
        ran = await typed(*command)
        assert view["id"] in ran.stdout
        assert "shop:1" not in ran.output
        assert "signs-1" not in ran.output


@pytest.mark.parametrize(
    ("mode", "secrets", "why"),
    [
        ("test", "key=shop:2\n", "account"),
        ("live", "key=other:1\n", "the secrets are of test mode"),
        ("test", "key=refused:1\n", "the key is not known"),
        ("test", "key=away:1\n", "no answer"),
        ("test", "\n", "secrets are missing: key"),
    ],
)
async def test_what_is_not_proven_to_be_a_new_account_is_not_added(
    ledger: Ledger, mode: str, secrets: str, why: str
) -> None:
    await entered()
    ran = await typed("add", NAME, "--mode", mode, secrets=secrets)
    assert ran.exit_code == 1
    assert why in str(ran.exception)
    assert await ledger.count("connector_accounts") == 1


async def test_a_rotation_takes_secrets_of_the_same_account_only(ledger: Ledger) -> None:
    id_ = (await entered())["id"]
    assert (await typed("rotate", id_, secrets="key=shop:2\n")).exit_code == 0
    swapped = await typed("rotate", id_, secrets="key=other:1\n")
    assert "the secrets are of other" in str(swapped.exception)
    found = await ledger.rows("SELECT generation FROM connector_secrets WHERE name = 'key'")
    assert [row.generation for row in found] == [2]


async def test_check_says_that_no_callback_has_come() -> None:
    id_ = (await entered())["id"]
    ran = await typed("check", id_)
    assert "no callback has come yet" in ran.output, ran.exception
    assert ran.exit_code == 0


async def test_check_says_that_an_account_waits_for_its_first_callback(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = replace(TellingConnector.capabilities, truth={OperationKind.CAPTURE: Truth.CALLBACK})
    monkeypatch.setattr(TellingConnector, "capabilities", told)
    monkeypatch.setenv("PAYONCE_PUBLIC_URL", "https://pay.example")
    id_ = (await entered())["id"]
    ran = await typed("check", id_)
    assert ran.exit_code == 1
    assert f"https://pay.example/v1/connectors/{NAME}/{id_}/callbacks" in str(ran.output) + str(ran.exception)
    async with ledger.database.transaction() as connection:
        await store.heard(connection, id_)
    ran = await typed("check", id_)
    assert (ran.exit_code, "the latest callback came at" in ran.output) == (0, True)


async def test_an_account_is_disabled_and_enabled_again(ledger: Ledger) -> None:
    id_ = (await entered())["id"]
    for command, state in [("disable", "disabled"), ("enable", "enabled")]:
        assert (await typed(command, id_)).exit_code == 0
        (row,) = await ledger.rows("SELECT state FROM connector_accounts")
        assert row.state == state
