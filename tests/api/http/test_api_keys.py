"""API keys: remembered for seconds, and for no longer than that after they were revoked."""

import base64
from dataclasses import dataclass
from datetime import datetime

import httpx
import pytest

from api.http import auth
from api.http.auth import REMEMBERED_S, Keys
from api.http.lookups import MOMENT_S
from api.problems import Problem
from payonce.runtime import Runtime
from payonce.storage import merchants
from payonce.storage.merchants import Caller
from tests.api.conftest import Merchant


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Door:
    """The keys of one process, with a clock of their own."""

    keys: Keys
    clock: Clock
    runtime: Runtime

    async def opened_by(self, key: str) -> Caller:
        async with self.runtime.database.transaction() as connection:
            return await self.keys.caller(connection, self.hash(key))

    def hash(self, key: str) -> bytes:
        return merchants.hash_key(key, secret=self.runtime.settings.secret_for("api_keys"))


@pytest.fixture
def door(runtime: Runtime) -> Door:
    clock = Clock()
    return Door(Keys(runtime.settings, clock=clock), clock, runtime)


async def _new_key(runtime: Runtime, merchant: Merchant) -> tuple[str, str]:
    async with runtime.database.transaction() as connection:
        record, key = await merchants.create_key(
            connection,
            merchant_id=merchant.id,
            mode="test",
            secret=runtime.settings.secret_for("api_keys"),
        )
    return record.id, key


async def test_a_key_is_remembered_for_its_time_and_then_looked_up_again(
    door: Door, merchant: Merchant
) -> None:
    caller = await door.opened_by(merchant.key)
    door.clock.now += REMEMBERED_S - 0.001
    assert door.keys.remembered(door.hash(merchant.key)) == caller == Caller(merchant.id, "test")
    door.clock.now += 0.001
    assert door.keys.remembered(door.hash(merchant.key)) is None


async def test_a_revoked_key_opens_nothing_once_its_time_is_over(door: Door, merchant: Merchant) -> None:
    key_id, key = await _new_key(door.runtime, merchant)
    await door.opened_by(key)
    async with door.runtime.database.transaction() as connection:
        await merchants.revoke_key(connection, key_id=key_id)
    door.clock.now += REMEMBERED_S
    with pytest.raises(Problem, match="valid API key"):
        await door.opened_by(key)
    door.clock.now += MOMENT_S
    assert door.keys.remembered(door.hash(key)) is None


async def test_an_unknown_key_is_refused_without_a_look_for_a_moment(door: Door) -> None:
    unknown = "sk_test_" + "0" * 48
    with pytest.raises(Problem):
        await door.opened_by(unknown)
    with pytest.raises(Problem, match="valid API key"):
        door.keys.remembered(door.hash(unknown))
    door.clock.now += MOMENT_S
    assert door.keys.remembered(door.hash(unknown)) is None


async def test_no_more_than_so_many_keys_are_remembered_and_the_newest_are(
    runtime: Runtime, merchant: Merchant, other_merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_REMEMBERED_MAX", 1)
    clock = Clock()
    door = Door(Keys(runtime.settings, clock=clock), clock, runtime)
    await door.opened_by(merchant.key)
    await door.opened_by(other_merchant.key)
    assert door.keys.remembered(door.hash(merchant.key)) is None
    assert door.keys.remembered(door.hash(other_merchant.key)) is not None


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


@pytest.mark.parametrize("form", ["{}:", "{}:anything", "{}::"])
@pytest.mark.parametrize("scheme", ["Basic", "bASIC"])
async def test_a_key_opens_by_basic_auth_as_it_does_by_bearer(
    client: httpx.AsyncClient, merchant: Merchant, form: str, scheme: str
) -> None:
    """As `curl -u sk_test_…:` sends it."""
    headers = {
        name: value.replace("Basic", scheme) for name, value in basic(form.format(merchant.key)).items()
    }
    assert (await client.get("/v1/payments", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        ":",
        "{}",
        ":{}",
        "x{}:",
        "{}x:",
        " {}:",
        "{} :",
        "sk_test_" + "0" * 48 + ":",
        "é{}:",
        "{}:" + "x" * 500,
    ],
)
async def test_other_basic_credentials_open_nothing(
    client: httpx.AsyncClient, merchant: Merchant, credentials: str
) -> None:
    response = await client.get("/v1/payments", headers=basic(credentials.format(merchant.key)))
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("encoded", ["", "=", "a===", "c2tfdGVzdF8*", "a" * 5, "%%%"])
async def test_basic_credentials_that_are_not_base64_open_nothing(
    client: httpx.AsyncClient, encoded: str
) -> None:
    response = await client.get("/v1/payments", headers={"Authorization": f"Basic {encoded}"})
    assert response.status_code == 401


async def test_a_second_revocation_keeps_the_first_time(runtime: Runtime, merchant: Merchant) -> None:
    key_id, _ = await _new_key(runtime, merchant)

    async def revoked_at() -> datetime | None:
        async with runtime.database.transaction() as connection:
            await merchants.revoke_key(connection, key_id=key_id)
            keys = await merchants.list_keys(connection, merchant_id=merchant.id)
        return next(key.revoked_at for key in keys if key.id == key_id)

    first, second = await revoked_at(), await revoked_at()
    assert first is not None
    assert second == first
