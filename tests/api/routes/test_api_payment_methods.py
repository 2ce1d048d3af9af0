"""Saved cards over HTTP: saved in the vault, shown, listed, deleted; and no number anywhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx
import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import text

from payonce.domain import cards
from payonce.runtime import Runtime
from payonce.storage import payment_methods
from payonce.storage.merchants import change_merchant
from payonce.storage.packing import body_of
from payonce.vault import doors
from payonce.vault.envelope import VaultPlace
from payonce.vault.keys import FileKeys, VaultUnavailable, Wrapped
from tests.api.conftest import Merchant, a_merchant, app_of
from tests.api.fakes import FakeAdmission
from tests.api.recorded import registered
from tests.storage.vault.saving import OLD, a_vault

PATH = "/v1/payment_methods"
NUMBER = "4242424242424242"
FROM_INDIA, FROM_NOWHERE, FROM_FRANCE = "4000003560000008", "4111111111111111", "4000002500003155"
CARD = {"number": NUMBER, "exp_month": 12, "exp_year": 2040}


@dataclass
class Keys:
    """Key-encryption keys that may be out of reach."""

    reachable: bool = True
    asked: int = 0
    _file: FileKeys = field(default_factory=lambda: FileKeys(OLD))

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        self.asked += 1
        if not self.reachable:
            raise VaultUnavailable
        return await self._file.wrap(data_key, record_id=record_id)

    async def unwrap(self, wrapped: Wrapped, *, record_id: str) -> bytes:
        return await self._file.unwrap(wrapped, record_id=record_id)

    async def newest(self) -> str:
        return await self._file.newest()

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def module_keys() -> Keys:
    return Keys()


@pytest.fixture
def keys(module_keys: Keys) -> Keys:
    module_keys.reachable, module_keys.asked = True, 0
    return module_keys


@pytest.fixture(scope="module")
async def runtime(runtime: Runtime, module_keys: Keys) -> Runtime:
    return replace(runtime, vault=a_vault(module_keys))


@pytest.fixture(scope="module")
async def merchant(runtime: Runtime) -> Merchant:
    return await storing(runtime, "vault")


async def storing(runtime: Runtime, storage: str) -> Merchant:
    """A new merchant whose cards are saved so."""
    merchant = await a_merchant(runtime, "Saving")
    async with runtime.database.transaction() as connection:
        await change_merchant(connection, merchant.id, card_storage=storage)
    return merchant


@pytest.fixture
async def shop(client: httpx.AsyncClient, runtime: Runtime) -> httpx.AsyncClient:
    """A client of a merchant who has nothing yet."""
    client.headers.update((await storing(runtime, "vault")).headers)
    return client


@asynccontextmanager
async def elsewhere(
    runtime: Runtime, shop: httpx.AsyncClient, admission: FakeAdmission, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """The shop's client of another process: with another vault, none, or one that serves live payments."""
    app = app_of(replace(runtime, **changes), admission)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=cast("Any", app)), base_url="http://api.test", headers=shop.headers
    ) as opened:
        yield opened


async def save(client: httpx.AsyncClient, key: str, *, customer: Any = None, **card: Any) -> httpx.Response:
    body = {"type": "card", "card": {**CARD, **card}, "customer": customer}
    return await client.post(PATH, json=body, headers={"Idempotency-Key": key})


async def ids(client: httpx.AsyncClient, **query: Any) -> list[str]:
    response = await client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json()["data"]]


async def rows(runtime: Runtime, query: str, **values: Any) -> list[Any]:
    async with runtime.database.transaction() as connection:
        return list((await connection.execute(text(query), values)).mappings().all())


async def test_a_card_is_saved_once_and_shown(shop: httpx.AsyncClient, runtime: Runtime) -> None:
    first = await save(shop, "once", customer={"id": "customer-7"}, cvc="123")
    again = await save(shop, "once", customer={"id": "customer-7"}, cvc="999")  # which is not compared
    saved = first.json()
    assert (first.status_code, first.headers["location"]) == (201, f"{PATH}/{saved['id']}")
    assert saved == {
        "id": saved["id"],
        "object": "payment_method",
        "type": "card",
        "status": "active",
        "setup": "on_session",
        "customer": {"id": "customer-7"},
        "card": {
            "brand": "visa",
            "last4": "4242",
            "exp_month": 12,
            "exp_year": 2040,
            "fingerprint": saved["card"]["fingerprint"],
        },
    }
    assert saved["id"].startswith("pm_")
    assert saved["card"]["fingerprint"].startswith("fp_")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await shop.get(first.headers["location"])).json() == saved
    assert (
        len(
            await rows(
                runtime,
                "SELECT FROM vault.cards WHERE fingerprint = :f AND erase_at IS NULL",
                f=saved["card"]["fingerprint"],
            )
        )
        == 1
    )


async def test_rules_and_lists_know_which_card_was_saved_until_it_is_deleted(
    shop: httpx.AsyncClient, runtime: Runtime
) -> None:
    saved = (await save(shop, "known")).json()["id"]
    query = "SELECT card, merchant_id, mode FROM vault.risk_saved WHERE payment_method_id = :id"
    (known,) = await rows(runtime, query, id=saved)
    whose = {"merchant_id": known["merchant_id"], "mode": known["mode"]}
    assert known["card"] == runtime.risk_subjects.card(NUMBER, **whose)
    assert (await shop.delete(f"{PATH}/{saved}")).status_code == 204
    assert not await rows(runtime, query, id=saved)


async def test_a_saved_card_opens_to_its_number_in_its_own_place(
    shop: httpx.AsyncClient, runtime: Runtime
) -> None:
    id_ = (await save(shop, "opens")).json()["id"]
    (row,) = await rows(runtime, "SELECT merchant_id FROM payment_methods WHERE id = :id", id=id_)
    async with runtime.database.transaction() as connection:
        (credential,) = await connection.fetch(payment_methods.credentials_of(id_))
        assert credential.vault_record is not None
        place = VaultPlace(credential.vault_record, row["merchant_id"], "test", "card")
        envelope = await doors.take(connection, place)
    assert runtime.vault is not None
    assert await runtime.vault.open(envelope, place) == NUMBER


async def test_many_at_once_under_one_key_save_one_card(shop: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(save(shop, "parallel") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len(await ids(shop)) == 1


async def test_another_card_under_the_key_is_refused(shop: httpx.AsyncClient) -> None:
    await save(shop, "other")
    response = await save(shop, "other", number=FROM_FRANCE)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await ids(shop)) == 1


async def test_the_same_card_again_is_another_payment_method_with_the_same_fingerprint(
    shop: httpx.AsyncClient, runtime: Runtime
) -> None:
    first, second = (await save(shop, "one")).json(), (await save(shop, "two")).json()
    third = (await save(shop, "three", number=FROM_FRANCE)).json()
    theirs = await storing(runtime, "vault")
    shop.headers.update(theirs.headers)
    fourth = (await save(shop, "one")).json()
    assert first["id"] != second["id"]
    prints = [each["card"]["fingerprint"] for each in (first, second, third, fourth)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("storage", "number", "status", "code"),
    [
        ("none", NUMBER, 422, "card_storage_refused"),
        ("acquirer", NUMBER, 422, "card_storage_refused"),
        ("vault", FROM_INDIA, 422, "card_storage_refused"),
        ("vault", FROM_NOWHERE, 422, "card_storage_refused"),
        ("vault", "4242424242424241", 400, "invalid_card_number"),
    ],
)
async def test_what_may_not_be_kept_is_refused_and_not_sealed(
    client: httpx.AsyncClient, runtime: Runtime, keys: Keys, storage: str, number: str, status: int, code: str
) -> None:
    client.headers.update((await storing(runtime, storage)).headers)
    response = await save(client, "refused", number=number)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["errors"][0]["pointer"] in ("/card", "/card/number")
    assert keys.asked == 0
    assert await ids(client) == []
    assert number not in response.text


async def test_live_cards_are_not_kept_without_a_table_of_issuers(
    client: httpx.AsyncClient, runtime: Runtime, admission: FakeAdmission
) -> None:
    merchant = await storing(runtime, "vault")
    live = runtime.settings.model_copy(update={"live": True})
    async with elsewhere(runtime, client, admission, settings=live) as serving_live:
        serving_live.headers["Authorization"] = f"Bearer {merchant.live_key}"
        response = await save(serving_live, "live")
    assert (response.status_code, response.json()["code"]) == (422, "card_storage_refused")


async def test_a_card_whose_month_is_over_is_refused_but_a_replay_comes(
    shop: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = await save(shop, "over", exp_month=1, exp_year=2020)
    assert (over.status_code, over.json()["code"]) == (400, "card_expired")
    first = await save(shop, "soon")
    monkeypatch.setattr(cards.Card, "expired", lambda *_: True)
    assert (await save(shop, "soon")).content == first.content
    shown = (await shop.get(first.headers["location"])).json()
    assert shown["status"] == "expired"
    assert (await save(shop, "late")).json()["code"] == "card_expired"


async def test_a_replay_comes_although_the_merchant_saves_nowhere_any_more(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    merchant = await storing(runtime, "vault")
    client.headers.update(merchant.headers)
    first = await save(client, "kept")
    async with runtime.database.transaction() as connection:
        await change_merchant(connection, merchant.id, card_storage="none")
    replayed = await save(client, "kept")
    assert (replayed.status_code, replayed.content) == (201, first.content)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"type": "upi"}, "/type"),
        ({"card": {**CARD, "name": "x"}}, "/card/name"),
        ({"card": None}, "/card"),
        ({"customer": {}}, "/customer/id"),
        ({"customer": {"id": "c", "email": "a@b.example"}}, "/customer/email"),
        ({"customer": {"id": "4242 4242 4242 4242"}}, "/customer/id"),
        ({"setup": "off_session"}, "/setup"),
        ({"token": "pm_1"}, "/token"),
    ],
)
async def test_mistakes_are_named(shop: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    whole = {"type": "card", "card": CARD, **body}
    response = await shop.post(PATH, json=whole, headers={"Idempotency-Key": "mistake"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert pointer in [each["pointer"] for each in response.json()["errors"]]
    assert NUMBER not in response.text


async def test_a_key_is_required(shop: httpx.AsyncClient) -> None:
    response = await shop.post(PATH, json={"type": "card", "card": CARD})
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_missing")


async def test_keys_out_of_reach_are_503_for_a_new_key_only(shop: httpx.AsyncClient, keys: Keys) -> None:
    first = await save(shop, "known")
    keys.reachable = False
    replayed, refused = await save(shop, "known"), await save(shop, "new")
    reused = await save(shop, "known", number=FROM_FRANCE)
    assert (replayed.status_code, replayed.content) == (201, first.content)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert reused.json()["code"] == "idempotency_key_reused"
    assert len(await ids(shop)) == 1
    keys.reachable = True
    assert (await save(shop, "new")).status_code == 201


async def test_a_held_key_is_409_although_the_keys_are_out_of_reach(
    shop: httpx.AsyncClient, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*_: Any) -> bool:
        raise LockNotAvailable

    keys.reachable = False
    monkeypatch.setattr("api.admission.transaction.idempotency.claim_key", held)
    response = await save(shop, "held")
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_key_in_use")


async def test_without_a_vault_nothing_is_saved(
    shop: httpx.AsyncClient, runtime: Runtime, admission: FakeAdmission
) -> None:
    async with elsewhere(runtime, shop, admission, vault=None) as without:
        response = await save(without, "nowhere")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert await ids(shop) == []


async def test_too_many_numbers_within_an_hour_are_429_and_nothing_is_kept(
    shop: httpx.AsyncClient, runtime: Runtime, keys: Keys, admission: FakeAdmission
) -> None:
    async with elsewhere(runtime, shop, admission, vault=a_vault(keys, saves_max=1)) as bounded:
        first, same = await save(bounded, "a"), await save(bounded, "b")
        other = await save(bounded, "c", number=FROM_FRANCE)
    assert (first.status_code, same.status_code) == (201, 201)
    assert (other.status_code, other.json()["code"]) == (429, "rate_limited")
    assert int(other.headers["retry-after"]) >= 1
    assert len(await ids(shop)) == 2
    assert (await save(shop, "c", number=FROM_FRANCE)).status_code == 201  # the key was not used up


async def test_what_breaks_between_sealing_and_the_commit_leaves_nothing(
    shop: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any, **__: Any) -> None:
        raise RuntimeError("the process ends here")

    before = await rows(runtime, "SELECT id FROM vault.cards ORDER BY id")
    monkeypatch.setattr("payonce.vault.payment_methods.outbox.add_payment_method_event", lost)
    assert (await save(shop, "lost")).status_code == 500
    monkeypatch.undo()
    assert await ids(shop) == []
    assert await rows(runtime, "SELECT id FROM vault.cards ORDER BY id") == before
    assert (await save(shop, "lost")).status_code == 201


async def test_lists_are_newest_first_by_customer_and_in_pages(shop: httpx.AsyncClient) -> None:
    saved = [
        (await save(shop, f"list-{n}", customer={"id": "odd" if n % 2 else "even"})).json()["id"]
        for n in range(5)
    ]
    newest_first = saved[::-1]
    assert await ids(shop) == newest_first
    assert await ids(shop, limit=2) == newest_first[:2]
    assert await ids(shop, limit=2, starting_after=newest_first[1]) == newest_first[2:4]
    assert await ids(shop, ending_before=newest_first[2]) == newest_first[:2]
    assert await ids(shop, customer="odd") == [saved[3], saved[1]]
    assert await ids(shop, customer="unknown") == []
    for query in ({"customer": "x" * 101}, {"status": "active"}, {"starting_after": "pm_unknown"}):
        assert (await shop.get(PATH, params=query)).status_code == 400


async def test_whoever_deletes_page_by_page_goes_through_all(shop: httpx.AsyncClient) -> None:
    saved = [(await save(shop, f"page-{n}")).json()["id"] for n in range(4)][::-1]
    first = await ids(shop, limit=2)
    for id_ in first:
        assert (await shop.delete(f"{PATH}/{id_}")).status_code == 204
    assert await ids(shop, starting_after=first[-1]) == saved[2:]


async def test_a_deleted_one_is_gone(shop: httpx.AsyncClient, runtime: Runtime) -> None:
    path = (await save(shop, "gone")).headers["location"]
    deleted = await shop.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert (await shop.request(method, path)).status_code == 404
    assert await ids(shop) == []
    id_ = path.rpartition("/")[2]
    (left,) = await rows(
        runtime,
        "SELECT count(*) AS left FROM vault.cards v JOIN credentials c ON c.vault_record = v.id"
        " WHERE c.payment_method_id = :id",
        id=id_,
    )
    assert left["left"] == 0
    replayed = await save(shop, "gone")
    assert (replayed.status_code, replayed.json()["id"]) == (201, id_)  # what was answered, and nothing anew
    assert await ids(shop) == []


async def test_many_deletions_at_once_delete_once_and_the_audit_log_says_who(
    shop: httpx.AsyncClient, runtime: Runtime
) -> None:
    path = (await save(shop, "many")).headers["location"]
    answers = await asyncio.gather(*(shop.delete(path) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [204] + [404] * 5
    logged = await rows(
        runtime,
        "SELECT action, actor_kind, members->>'origin' AS origin FROM audit.entries"
        " LEFT JOIN audit.personal ON entry_id = entries.id WHERE subject = :id",
        id=path.rpartition("/")[2],
    )
    entry = {"action": "payment_method.deleted", "actor_kind": "api_key", "origin": "127.0.0.1"}
    assert [dict(row) for row in logged] == [entry]
    assert [each["type"] for each in (await shop.get("/v1/events")).json()["data"]] == [
        "payment_method.deleted",
        "payment_method.active",
    ]


async def test_payment_methods_are_the_merchant_s_own_in_their_mode(
    client: httpx.AsyncClient, runtime: Runtime, admission: FakeAdmission
) -> None:
    mine, other = await storing(runtime, "vault"), await storing(runtime, "vault")
    client.headers.update(mine.headers)
    path = (await save(client, "mine")).headers["location"]
    live = runtime.settings.model_copy(update={"live": True})
    async with elsewhere(runtime, client, admission, settings=live) as serving_live:
        for key in (other.key, mine.live_key):
            serving_live.headers["Authorization"] = f"Bearer {key}"
            for method in ("GET", "DELETE"):
                assert (await serving_live.request(method, path)).status_code == 404
            assert await ids(serving_live) == []
            cursor = await serving_live.get(PATH, params={"starting_after": path.rpartition("/")[2]})
            assert cursor.status_code == 400
    assert (await client.get(path)).status_code == 200


async def test_a_provisional_one_is_not_there(shop: httpx.AsyncClient, runtime: Runtime) -> None:
    path = (await save(shop, "provisional")).headers["location"]
    id_ = path.rpartition("/")[2]
    await changed(runtime, id_, "state = 'provisional'")
    for method in ("GET", "DELETE"):
        assert (await shop.request(method, path)).status_code == 404
    assert await ids(shop) == []
    assert (await shop.get(PATH, params={"starting_after": id_})).status_code == 400


async def changed(runtime: Runtime, id_: str, changes: str) -> None:
    async with runtime.database.transaction() as connection:
        await connection.execute(text(f"UPDATE payment_methods SET {changes} WHERE id = :id"), {"id": id_})


async def test_events_have_no_sequence_and_go_to_endpoints_and_lists(
    shop: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint = await registered(shop, events=["payment_method.active"], ordered=True)
    saved = (await save(shop, "told", customer={"id": "c"})).json()
    await shop.delete(f"{PATH}/{saved['id']}")
    deleted, active = (await shop.get("/v1/events")).json()["data"]
    assert [(each["type"], each["sequence"]) for each in (active, deleted)] == [
        ("payment_method.active", None),
        ("payment_method.deleted", None),
    ]
    assert active["data"] == saved
    assert deleted["data"] == saved
    assert (await shop.get(f"/v1/events/{active['id']}")).json() == active
    listed = await shop.get("/v1/events", params={"type": "payment_method.deleted"})
    assert [each["id"] for each in listed.json()["data"]] == [deleted["id"]]
    deliveries = (await shop.get(f"/v1/webhook_endpoints/{endpoint['id']}/deliveries")).json()["data"]
    assert [each["event"] for each in deliveries] == [active["id"]]


async def test_the_number_is_nowhere(shop: httpx.AsyncClient, runtime: Runtime) -> None:
    """In no row of no table, the vault's own included, and neither is the security code."""
    number, cvc = FROM_FRANCE, "739"
    path = (await save(shop, "nowhere-to-be-found", number=number, cvc=cvc)).headers["location"]
    tables = await rows(
        runtime,
        "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'vault', 'audit') AND table_type = 'BASE TABLE'",
    )
    for table in tables:
        found = await rows(runtime, f"SELECT to_jsonb(t)::text AS row FROM {table['name']} AS t")
        for each in found:
            assert number not in each["row"], table["name"]
            assert number.encode().hex() not in each["row"], table["name"]
            assert json.dumps(cvc) not in each["row"], table["name"]
    for each in await rows(runtime, "SELECT id, payment_id, created_at, body FROM events"):
        assert number.encode() not in body_of(each)
    assert number not in (await shop.get(path)).text
