"""With a role of the API's own Postgres shows a request one merchant's rows, whatever its statements forget."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event
from temporalio.client import Client

from api.admission.admission import Admission
from devstack.postgres import as_role
from payonce.domain.ids import random_id
from payonce.runtime import Runtime, open_process, open_runtime
from payonce.settings import Settings, SettingsWrong
from payonce.storage.driver.database import Database
from payonce.storage.driver.wire import Command, Wire
from payonce.storage.merchants import Caller
from payonce.storage.payments import find_payment
from payonce.storage.roles import check_api_role, check_engine_role
from tests.api.conftest import Merchant, a_merchant, app_of
from tests.api.fakes import FakeAdmission
from tests.api.recorded import CAPTURED, ENDPOINTS, URL, added, recorded, registered
from tests.support.databases import PostgresServer, as_api, as_engine
from tests.support.forgetting import forgetting

LISTS = ("/v1/payments", "/v1/events", ENDPOINTS)


@dataclass
class Theirs:
    """What another merchant has."""

    payment: str
    event: str
    endpoint: str

    @property
    def paths(self) -> list[str]:
        """Where each is shown, and what is listed under it."""
        payment, endpoint = f"/v1/payments/{self.payment}", f"{ENDPOINTS}/{self.endpoint}"
        under = [f"{payment}/events", f"{payment}/refunds", f"{payment}/attempts", f"{endpoint}/deliveries"]
        return [payment, f"/v1/events/{self.event}", endpoint, *under]

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.payment, self.event, self.endpoint)


def settings_with(url: str, api_url: str | None) -> Settings:
    return Settings(
        database_url=url,
        api_database_url=api_url,
        redis_url="redis://127.0.0.1:1",
        temporal_address="127.0.0.1:1",
        derivation_key=SecretStr("tests-only-" * 4),
    )


@pytest.fixture(scope="module")
def logins(module_database_url: str) -> str:
    """The database, as its owner: both roles are let in."""
    return module_database_url


@pytest.fixture(scope="module")
async def runtime(logins: str) -> AsyncIterator[Runtime]:
    """The engine is not the owner, and the API has its role."""
    async with open_runtime(settings_with(as_engine(logins), as_api(logins)), for_api=True) as opened:
        yield opened


@pytest.fixture(scope="module")
async def single(logins: str) -> AsyncIterator[Runtime]:
    """One role for all, the owner."""
    async with open_runtime(settings_with(logins, None), for_api=True) as opened:
        yield opened


@asynccontextmanager
async def client_of(runtime: Runtime, merchant: Merchant) -> AsyncIterator[httpx.AsyncClient]:
    admission = FakeAdmission(real=Admission(runtime, cast("Client", None)))
    transport = httpx.ASGITransport(app=cast("Any", app_of(runtime, admission)))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api.test", headers=merchant.headers
    ) as opened:
        yield opened


@pytest.fixture
async def theirs(single: Runtime) -> Theirs:
    other = await a_merchant(single, "Other")
    (event_id,) = await recorded(single, other, CAPTURED)
    async with client_of(single, other) as client:
        endpoint = await registered(client)
        found = (await client.get(f"/v1/events/{event_id}")).json()
    return Theirs(found["data"]["id"], event_id, endpoint["id"])


@pytest.fixture
def forgetful() -> Iterator[Counter[str]]:
    """No statement names a merchant or a mode in its conditions any more."""
    with forgetting() as out:
        yield out


async def test_without_their_conditions_the_api_s_statements_show_nothing_of_another_merchant_s(
    runtime: Runtime, theirs: Theirs, forgetful: Counter[str]
) -> None:
    merchant = await a_merchant(runtime, "Shop")
    own = await added(runtime, merchant, id=random_id("pay"))
    async with client_of(runtime, merchant) as client:
        for path in theirs.paths:
            answer = await client.get(path)
            assert answer.status_code == httpx.codes.NOT_FOUND, (path, answer.text)
        for path in LISTS:
            answer = await client.get(path)
            assert answer.status_code == httpx.codes.OK, answer.text
            assert not [id_ for id_ in theirs.ids if id_ in answer.text], path
        assert (await client.get(f"/v1/payments/{own.id}")).status_code == httpx.codes.OK
    assert forgetful["conditions"]


async def test_as_the_owner_the_same_statements_show_it(
    single: Runtime, theirs: Theirs, forgetful: Counter[str]
) -> None:
    """So what is taken out above matters."""
    merchant = await a_merchant(single, "Shop")
    async with client_of(single, merchant) as client:
        for path in theirs.paths:
            assert (await client.get(path)).status_code == httpx.codes.OK, path
        for path in LISTS:
            assert [id_ for id_ in theirs.ids if id_ in (await client.get(path)).text], path


async def test_nothing_can_be_changed_that_is_another_merchant_s(
    runtime: Runtime, theirs: Theirs, forgetful: Counter[str]
) -> None:
    async with client_of(runtime, await a_merchant(runtime, "Shop")) as client:
        path = f"{ENDPOINTS}/{theirs.endpoint}"
        assert (await client.patch(path, json={"description": "mine"})).status_code == httpx.codes.NOT_FOUND
        assert (await client.delete(path)).status_code == httpx.codes.NOT_FOUND
    assert forgetful["conditions"]


async def test_the_other_mode_and_who_names_nobody_see_nothing(
    runtime: Runtime, single: Runtime, forgetful: Counter[str]
) -> None:
    merchant = await a_merchant(single, "Shop")
    payment = await added(single, merchant, id=random_id("pay"))
    seen = {}
    for whose in (Caller(merchant.id, "test"), Caller(merchant.id, "live"), None):
        async with runtime.tenants.reading(whose) as connection:
            found = await find_payment(connection, payment.id, merchant_id=merchant.id, mode="test")
            seen[whose and whose.mode] = found is not None
    assert seen == {"test": True, "live": False, None: False}


@asynccontextmanager
async def waits(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter[str]]:
    """How often Postgres was waited for."""
    counted: Counter[str] = Counter()
    exchange = Wire.exchange

    async def counting(self: Wire, commands: Sequence[Command]) -> Any:
        counted["exchanges"] += 1
        return await exchange(self, commands)

    def note(*_: Any) -> None:
        counted["executed"] += 1

    event.listen(Engine, "before_cursor_execute", note)
    with monkeypatch.context() as patched:
        patched.setattr(Wire, "exchange", counting)
        yield counted
    event.remove(Engine, "before_cursor_execute", note)


async def _asked(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> list[Counter[str]]:
    found = []
    for method, path, body in (
        ("GET", "/v1/payments", None),
        ("GET", "/v1/payments?created_after=2026-01-01T00:00:00Z", None),
        ("GET", "/v1/payments/pay_unknown", None),
        ("POST", ENDPOINTS, {"url": URL}),
        ("GET", ENDPOINTS, None),
    ):
        async with waits(monkeypatch) as counted:
            headers = {"Idempotency-Key": random_id("key")}
            answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
        found.append(counted)
    return found


async def test_a_tenant_is_named_without_a_round_trip_more(
    runtime: Runtime, single: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    for each in (single, runtime):
        async with client_of(each, await a_merchant(each, "Warm")) as client:
            await _asked(client, monkeypatch)  # its connections are open
        async with client_of(each, await a_merchant(each, "Shop")) as client:
            counted.append([await _asked(client, monkeypatch), await _asked(client, monkeypatch)])
    assert counted[0] == counted[1]  # a key that was not known, and one that was


async def _refusal(url: str, api_url: str | None = None) -> str:
    database = Database(url, pool_size=2, api_url=api_url)
    try:
        with pytest.raises(SettingsWrong) as refused:
            await check_engine_role(database) if api_url is None else await check_api_role(database)
    finally:
        await database.close()
    return str(refused.value)


async def test_a_role_that_no_policy_holds_is_refused(logins: str) -> None:
    assert "is a superuser" in await _refusal(logins, logins)
    assert "may act as payonce_engine" in await _refusal(logins, as_engine(logins))


async def test_a_role_that_reads_past_its_policies_is_refused(logins: str) -> None:
    """By a right of Postgres's own: what no policy keeps it would read, the vault's tables first."""
    reads_all = "api_reads_all"
    url = logins.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        await owner.execute(f"CREATE ROLE {reads_all} LOGIN IN ROLE payonce_api, pg_read_all_data")
        try:
            refusal = await _refusal(logins, as_role(logins, reads_all))
        finally:
            await owner.execute(f"DROP ROLE {reads_all}")
    assert "may act as pg_read_all_data" in refusal


async def test_another_database_is_refused(logins: str, postgres_server: PostgresServer) -> None:
    async with postgres_server.database() as other:
        assert "another database" in await _refusal(logins, as_api(other))


async def test_an_engine_that_would_see_nothing_is_refused(logins: str) -> None:
    assert "would see no row" in await _refusal(as_api(logins))


async def test_a_process_starts_with_both_roles_and_not_with_the_wrong_one(logins: str) -> None:
    right = settings_with(as_engine(logins), as_api(logins))
    async with open_process(right, for_api=True) as opened:
        assert opened.tenants
    with pytest.raises(SettingsWrong, match="PAYONCE_API_DATABASE_URL: the role"):
        async with open_process(replace_url(right, logins), for_api=True):
            pass


async def test_an_api_process_without_such_a_role_is_refused_and_others_need_none(logins: str) -> None:
    one_role = settings_with(as_engine(logins), None)
    with pytest.raises(SettingsWrong, match="PAYONCE_API_DATABASE_URL: it is not set"):
        async with open_process(one_role, for_api=True):
            pass
    async with (
        open_process(one_role) as opened,
        opened.tenants.reading(Caller("mer_1", "test")) as connection,
    ):
        assert not connection.of_api


async def test_a_process_that_sends_saved_cards_may_take_them(logins: str) -> None:
    """The tests' engine was not let through the vault's door, as `logins.sql` lets it."""
    database = Database(as_engine(logins), pool_size=2)
    try:
        await check_engine_role(database)
        with pytest.raises(SettingsWrong, match="GRANT payonce_sender TO payonce_engine"):
            await check_engine_role(database, sends_saved=True)
    finally:
        await database.close()


async def test_a_worker_as_the_api_s_role_is_refused(logins: str) -> None:
    with pytest.raises(SettingsWrong, match="would see no row"):
        async with open_process(settings_with(as_api(logins), None)):
            pass


def replace_url(settings: Settings, api_url: str) -> Settings:
    return settings.model_copy(update={"api_database_url": api_url})
