"""Callbacks over HTTP: only what the acquirer signed, not long ago, gets into the inbox, and once."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client, RPCError
from temporalio.service import RPCStatusCode

from api.admission.admission import Admission
from api.app import build_app
from api.http.bodies import BODY_BYTES_MAX
from payonce.connectors.base import Callback, ConnectorAccount
from payonce.connectors.measured import Measured
from payonce.runtime import Runtime, open_runtime
from payonce.settings import Settings
from payonce.storage.callbacks import Received
from payonce.storage.connector_accounts import insert_account
from tests.api.fakes import FakeAdmission
from workers.inbox import AT_ONCE, Inbox

KEY = "an acquirer's key"
CALLBACKS_BURST = 10
UPI = ("sandbox_upi",)  # the account
PATH = "/v1/connectors/sandbox_upi/callbacks"
BODY = {"id": "cb_1", "type": "payment.updated", "reference": "pay_1-1", "status": "approved", "amount": 1}


class NoTemporal:
    """A Temporal that nobody can reach: what was received waits for the sweeper."""

    def get_workflow_handle(self, _id: str) -> "NoTemporal":
        return self

    async def start_workflow(self, *_args: Any, **_options: Any) -> None:
        raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")

    signal = start_workflow


@pytest.fixture
async def calling(database_url: str) -> AsyncIterator[Runtime]:
    """With the sandbox's accounts."""
    settings = Settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        temporal_address="127.0.0.1:1",
        derivation_key=SecretStr("tests-only-" * 4),
        sandbox_acquirer_url="http://127.0.0.1:1",
        sandbox_acquirer_key=SecretStr(KEY),
        callbacks_per_s=0.001,
        callbacks_burst=CALLBACKS_BURST,
    )
    async with open_runtime(settings) as opened:
        yield opened


@pytest.fixture
async def acquirer(calling: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    """A client without an API key."""
    inbox = Inbox(calling, cast("Client", NoTemporal()))
    app = build_app(calling, cast("Admission", FakeAdmission()), {}, inbox)
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client
    await inbox.drain()


def signed(body: bytes, *, key: str = KEY, age_s: float = 0, at: str | None = None) -> dict[str, str]:
    seconds = at or str(int(time.time() - age_s))
    mac = hmac.new(key.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Acquirer-Signature": f"t={seconds},v1={mac}", "Content-Type": "application/json"}


async def received(runtime: Runtime) -> list[str]:
    async with runtime.database.transaction() as connection:
        rows = await connection.execute(text("SELECT event_id FROM callbacks ORDER BY event_id"))
        return [row.event_id for row in rows]


async def test_a_signed_message_is_in_the_inbox_when_it_is_answered(
    acquirer: httpx.AsyncClient, calling: Runtime
) -> None:
    body = json.dumps(BODY).encode()
    for _ in range(3):
        response = await acquirer.post(PATH, content=body, headers=signed(body))
        assert response.status_code == 200
        assert response.headers["Request-Id"]
    assert await received(calling) == ["cb_1"]


async def test_all_that_one_message_says_is_in_the_inbox(
    acquirer: httpx.AsyncClient, calling: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each under an identity of its own; what was there before is known."""
    beside = (Callback("cb_2", "pay_2-1"), Callback("cb_3", "pay_1-1"))
    told = Callback("cb_1", "pay_1-1", beside=beside)
    monkeypatch.setattr(Measured, "read_callback", lambda *_args, **_more: told)
    for _ in range(2):
        assert (await acquirer.post(PATH, content=b"{}")).status_code == 200
    assert await received(calling) == ["cb_1", "cb_2", "cb_3"]


async def test_the_same_event_with_other_words_is_known_already(
    acquirer: httpx.AsyncClient, calling: Runtime
) -> None:
    for amount in (1, 1_000_000):
        body = json.dumps({**BODY, "amount": amount}).encode()
        assert (await acquirer.post(PATH, content=body, headers=signed(body))).status_code == 200
    assert await received(calling) == ["cb_1"]


async def test_a_connectors_callbacks_have_a_bucket_that_forgeries_take_nothing_of(
    acquirer: httpx.AsyncClient, calling: Runtime
) -> None:
    """Issue 14, 6: 200 from one connection, and no 429."""
    forged = {"Acquirer-Signature": "t=1,v1=" + "0" * 64, "Content-Type": "application/json"}
    statuses = []
    for number in range(CALLBACKS_BURST + 2):
        assert (await acquirer.post(PATH, content=_RAW, headers=forged)).status_code == 401
        body = json.dumps({**BODY, "id": f"cb_{number}"}).encode()
        response = await acquirer.post(PATH, content=body, headers=signed(body))
        statuses.append(response.status_code)
    other = PATH.replace("upi", "wallet")
    assert statuses == [200] * CALLBACKS_BURST + [429] * 2
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["code"] == "rate_limited"
    assert len(await received(calling)) == CALLBACKS_BURST
    assert (await acquirer.post(other, content=body, headers=signed(body))).status_code == 200


_RAW = json.dumps(BODY).encode()


def genuine() -> str:
    return signed(_RAW)["Acquirer-Signature"]


INVALID: dict[str, Callable[[], tuple[bytes, Any]]] = {
    "unsigned": lambda: (_RAW, {}),
    "signed with another key": lambda: (_RAW, signed(_RAW, key="guessed")),
    "changed after it was signed": lambda: (_RAW.replace(b"1}", b"2}"), signed(_RAW)),
    "spelled differently": lambda: (json.dumps(BODY, indent=1).encode(), signed(_RAW)),
    "stale": lambda: (_RAW, signed(_RAW, age_s=302)),
    "from the future": lambda: (_RAW, signed(_RAW, age_s=-330)),
    "its time changed": lambda: (_RAW, {"Acquirer-Signature": "t=1," + genuine().split(",")[1]}),
    "without a time": lambda: (_RAW, {"Acquirer-Signature": genuine().split(",")[1]}),
    "twice": lambda: (_RAW, {"Acquirer-Signature": f"{genuine()},{genuine()}"}),
    "not hexadecimal": lambda: (_RAW, {"Acquirer-Signature": f"t=1,v1={'é' * 64}".encode()}),
    "not JSON": lambda: (b"{", signed(b"{")),
    "not an object": lambda: (b"[]", signed(b"[]")),
    "without an id": lambda: (b'{"reference":"pay_1-1"}', signed(b'{"reference":"pay_1-1"}')),
    "empty": lambda: (b"", signed(b"")),
}


@pytest.mark.parametrize("name", INVALID)
async def test_what_the_acquirer_did_not_sign_now_is_refused(
    acquirer: httpx.AsyncClient, calling: Runtime, name: str
) -> None:
    body, headers = INVALID[name]()
    response = await acquirer.post(PATH, content=body, headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "callback_invalid"
    assert response.headers["www-authenticate"].startswith("Signature ")
    assert await received(calling) == []


@pytest.mark.parametrize("name", ["sandbox_card", "nobody", "sandbox_upi%2F"])
async def test_a_connector_that_takes_no_callbacks_is_not_there(
    acquirer: httpx.AsyncClient, calling: Runtime, name: str
) -> None:
    for connector in calling.accounts.connectors.values():
        if connector.name == "sandbox_card":
            connector.capabilities = replace(connector.capabilities, callbacks=False)
    path = f"/v1/connectors/{name}/callbacks"
    response = await acquirer.post(path, content=_RAW, headers=signed(_RAW))
    assert response.status_code == 404


async def test_a_message_over_64_kib_is_refused_before_it_is_looked_into(acquirer: httpx.AsyncClient) -> None:
    body = b" " * (BODY_BYTES_MAX + 1)
    response = await acquirer.post(PATH, content=body, headers=signed(body))
    assert response.status_code == 413


async def test_each_connectors_inbox_is_its_own(acquirer: httpx.AsyncClient, calling: Runtime) -> None:
    for name in ("sandbox_upi", "sandbox_wallet"):
        path = f"/v1/connectors/{name}/callbacks"
        assert (await acquirer.post(path, content=_RAW, headers=signed(_RAW))).status_code == 200
    assert await received(calling) == ["cb_1", "cb_1"]


@pytest.mark.parametrize("name", ["id", "reference"])
async def test_a_signed_message_whose_words_postgres_cannot_keep_is_invalid(
    acquirer: httpx.AsyncClient, name: str
) -> None:
    body = json.dumps({**BODY, name: "cb\0x"}).encode()
    assert (await acquirer.post(PATH, content=body, headers=signed(body))).status_code == 401


async def test_callbacks_are_received_while_earlier_ones_wait_for_temporal(
    calling: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Temporal that does not answer holds each hand-over up for seconds: the acquirer must not notice."""
    stuck, entered = asyncio.Event(), 0

    async def hang(_self: Inbox, *_received: Received) -> None:
        nonlocal entered
        entered += 1
        await stuck.wait()

    monkeypatch.setattr(Inbox, "hand_over", hang)
    inbox = Inbox(calling, cast("Client", NoTemporal()))
    async with asyncio.timeout(60):
        for number in range(AT_ONCE + 2):
            await inbox.receive(
                "sandbox_upi", Callback(f"cb_stuck_{number}", f"pay_{number}-1"), accounts=UPI
            )
    assert entered == AT_ONCE
    stuck.set()
    await inbox.drain()


async def test_an_accounts_own_address_reads_what_its_own_secret_signed(
    acquirer: httpx.AsyncClient, calling: Runtime
) -> None:
    account = ConnectorAccount(
        id="acct_1",
        connector="sandbox_upi",
        mode="test",
        base_url="http://127.0.0.1:1",
        identity="shop",
        secrets={"key": ("its own key",)},
    )
    async with calling.database.transaction() as connection:
        await insert_account(connection, account, calling.sealer)
    await calling.accounts.refresh()
    body = json.dumps(BODY).encode()
    own, elsewhere = signed(body, key="its own key"), signed(body)
    at = {name: f"/v1/connectors/{name}/callbacks" for name in ("sandbox_upi/acct_1", "sandbox_card/acct_1")}
    assert (await acquirer.post(at["sandbox_upi/acct_1"], content=body, headers=elsewhere)).status_code == 401
    assert (await acquirer.post(PATH, content=body, headers=own)).status_code == 401
    assert (await acquirer.post(at["sandbox_card/acct_1"], content=body, headers=own)).status_code == 404
    assert await received(calling) == []
    assert (await acquirer.post(at["sandbox_upi/acct_1"], content=body, headers=own)).status_code == 200
    assert await received(calling) == ["cb_1"]
