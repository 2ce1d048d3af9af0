"""Settings that do not belong to the database are refused at start, by the variable's name."""

import os
from collections.abc import Mapping

import pytest

from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.runtime import open_process
from payonce.settings import SettingsWrong
from payonce.storage.belonging import check_accounts, check_ids
from tests.storage.ledger import DERIVATION_KEY, IDS, Ledger, settings_of, subject
from tests.support.databases import PostgresServer
from tests.support.forks import ran
from tests.support.ids import ids_of_key
from tests.support.rows import approval

K, S = OperationKind, PaymentStatus
OTHER_KEY = ids_of_key("o" * 32)
OTHER_CELL = ids_of_key(DERIVATION_KEY, cell="b")
START_WITHIN_S = 60
NO_TABLES = "PAYONCE_DATABASE_URL: the database has no tables; run `payonce db upgrade`"
NOWHERE = "postgresql+psycopg://payonce@127.0.0.1:1/payonce"


async def add_event(ledger: Ledger) -> str:
    """The id of the payment whose refund was recorded."""
    of = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND)
    await ledger.recorder().record(subject(of), attempt=1, fact=approval(of))
    return of.payment_id


async def test_any_key_fits_a_database_without_events(ledger: Ledger) -> None:
    await check_ids(ledger.database, ids=OTHER_KEY)


async def test_a_derivation_key_that_does_not_fit_the_database_is_refused(ledger: Ledger) -> None:
    await add_event(ledger)
    await check_ids(ledger.database, ids=IDS)
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_DERIVATION_KEY: it is not the one"):
        await check_ids(ledger.database, ids=OTHER_KEY)
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_CELL: "):
        await check_ids(ledger.database, ids=OTHER_CELL)


async def test_the_key_fits_what_the_first_release_derived(ledger: Ledger) -> None:
    """Without the transaction; its tables had no column for it either."""
    payment_id = await add_event(ledger)
    for sequence, _ in await ledger.events(payment_id):
        _, first = IDS.events_of_every_release(payment_id=payment_id, sequence=sequence, xid=0)
        await ledger.rows(
            "UPDATE events SET id = :id WHERE payment_id = :of AND sequence = :sequence",
            **{"id": first, "of": payment_id, "sequence": sequence},
        )
    await ledger.rows("ALTER TABLE events DROP COLUMN xid")
    await check_ids(ledger.database, ids=IDS)
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_DERIVATION_KEY: "):
        await check_ids(ledger.database, ids=OTHER_KEY)


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        *((state, True) for state in (AttemptState.CLAIMED, AttemptState.UNKNOWN, AttemptState.WAITING)),
        *((state, False) for state in (AttemptState.APPROVED, AttemptState.NOT_SENT)),
    ],
)
async def test_an_account_that_attempts_name_and_that_is_gone_is_refused(
    ledger: Ledger, state: AttemptState, asked: bool
) -> None:
    payment = await ledger.add_payment(S.CAPTURED)
    await ledger.add_operation(payment, K.REFUND, state=state)
    account = "account_1"  # of the ledger's attempts
    await check_accounts(ledger.database, accounts={account, "other"})
    if not asked:
        await check_accounts(ledger.database, accounts=set())
        return
    for accounts in ({"other"}, set[str]()):
        with pytest.raises(SettingsWrong, match=rf"^PAYONCE_CONNECTOR_ACCOUNTS: .*'{account}' "):
            await check_accounts(ledger.database, accounts=accounts)
    await ledger.rows("UPDATE operations SET status = 'succeeded'")
    await check_accounts(ledger.database, accounts=set())


async def test_a_process_does_not_start_with_another_key(ledger: Ledger) -> None:
    await add_event(ledger)
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_DERIVATION_KEY: "):
        async with open_process(settings_of(ledger, derivation_key="o" * 32)):
            raise AssertionError


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://payonce:SECRET@127.0.0.1:1/payonce", "port 1 failed: Connection refused"),
        ("postgresql+psycopg://payonce:SECRET@127.0.0.1:1,127.0.0.1:2/payonce", "Connection refused"),
        ("postgresql+psycopg://payonce:SECRET@nowhere.invalid/payonce", "nowhere.invalid|[Nn]ame"),
        ("postgresql+psycopg://payonce:SECRET@127.0.0.1:1/payonce?sslmod=x", "sslmod"),
        ("postgresql+psycopg://payonce:SECRET@127.0.0.1:port/payonce", "it is no postgresql"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_with_the_reason(
    ledger: Ledger, url: str, said: str
) -> None:
    with pytest.raises(SettingsWrong, match=rf"^PAYONCE_DATABASE_URL: .*(?:{said})") as refused:
        async with open_process(settings_of(ledger, database_url=url)):
            raise AssertionError
    assert "SECRET" not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("command", "changed", "said"),
    [
        (("api",), {}, NO_TABLES),
        (("api",), {"PAYONCE_CONNECTOR_ACCOUNTS": "{"}, "PAYONCE_CONNECTOR_ACCOUNTS: it is no JSON: "),
        (("workers", "worker"), {}, NO_TABLES),
        (
            ("workers", "relay"),
            {"PAYONCE_CELLS": "a"},
            "PAYONCE_CELLS: there is no such setting (is PAYONCE_CELL ",
        ),
        (("payonce", "merchants", "list"), {}, NO_TABLES),
        (
            ("payonce", "db", "upgrade"),
            {"PAYONCE_DATABASE_URL": NOWHERE},
            "PAYONCE_DATABASE_URL: Postgres does not ",
        ),
    ],
)
async def test_every_process_ends_with_one_line(
    command: tuple[str, ...], changed: dict[str, str], said: str, postgres_server: PostgresServer
) -> None:
    async with postgres_server.empty_database() as url:
        code, lines = await ended(command, {"PAYONCE_DATABASE_URL": url, **changed})
    assert code == 1
    assert said in lines[-1]
    assert not [line for line in lines if "Traceback" in line]


async def ended(command: tuple[str, ...], changed: Mapping[str, str]) -> tuple[int | None, list[str]]:
    """The exit status, and what was written to stderr."""
    ours = {
        "PAYONCE_REDIS_URL": "redis://127.0.0.1:1",
        "PAYONCE_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PAYONCE_DERIVATION_KEY": "d" * 32,
        "PAYONCE_API_PORT": "0",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
    program, *arguments = command
    ended = await ran(program, *arguments, environ={**inherited, **ours, **changed}, within_s=START_WITHIN_S)
    return ended.status, ended.error.splitlines()
