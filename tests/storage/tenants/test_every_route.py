"""Every route behind an API key does its work as payonce_api, and shows or changes nothing of another merchant's."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from obstore.store import LocalStore
from sqlalchemy import text

from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.ids import random_id
from payonce.storage import disputes
from payonce.storage.driver.database import Database
from payonce.storage.merchants import change_merchant, create_key, create_merchant
from tests.api.conftest import serving_of
from tests.api.fakes import CARD, payment_body
from tests.storage.ledger import open_ledger
from tests.storage.receipts.receipted import Ill
from tests.storage.serving import Served, serving
from tests.storage.vault.saving import a_vault
from tests.support.forgetting import forgetting

URL: Final = "https://93.184.215.14/hooks"  # an address, so that no name is looked up
SINCE: Final = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
SAVED: Final = {"type": "card", "card": {name: CARD[name] for name in ("number", "exp_month", "exp_year")}}
STREAM: Final = "GET /v1/events/stream"


@dataclass(frozen=True)
class Ask:
    """One request with ids in its path or body: how it ends with one's own, and with another merchant's.

    `of_another` None: it names nothing, and says or does nothing of another's.
    """

    path: str
    answer: int
    of_another: int | None = 404
    body: Mapping[str, Any] | None = None

    def filled(self, ids: Mapping[str, str]) -> tuple[str, Any]:
        return self.path.format_map(ids), _filled(self.body, ids)


def _filled(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(one, ids) for name, one in value.items()}
    return value.format_map(ids) if isinstance(value, str) else value


PAYMENT, ENDPOINT = "/v1/payments/{id}", "/v1/webhook_endpoints/{id}"
OF_PAYMENT, OF_ENDPOINT = "/v1/payments/{payment}", "/v1/webhook_endpoints/{endpoint}"
WITH_SAVED = payment_body(payment_method={"type": "card", "token": "{method}"})
# Each route of the document, in an order in which what one takes away no other needs.
ROUTES: Final[dict[str, tuple[Ask, ...]]] = {
    "POST /v1/payments": (
        Ask("/v1/payments", 201, None, payment_body()),
        Ask("/v1/payments", 201, 400, WITH_SAVED),
    ),
    "GET /v1/payments": (
        Ask("/v1/payments", 200, None),
        Ask(f"/v1/payments?created_after={SINCE}&status=captured", 200, None),
        Ask("/v1/payments?starting_after={payment}", 200, 400),
    ),
    f"GET {PAYMENT}": (Ask(OF_PAYMENT, 200),),
    f"POST {PAYMENT}/capture": (Ask("/v1/payments/{authorized}/capture", 202, body={}),),
    f"POST {PAYMENT}/void": (Ask("/v1/payments/{undecided}/void", 202, body={}),),
    f"GET {PAYMENT}/events": (Ask(f"{OF_PAYMENT}/events", 200),),
    f"GET {PAYMENT}/attempts": (Ask(f"{OF_PAYMENT}/attempts", 200),),
    f"GET {PAYMENT}/receipt": (
        Ask(f"{OF_PAYMENT}/receipt", 409),  # it is being made
        Ask(f"{OF_PAYMENT}/receipt?refund={{refund}}", 409),
    ),
    f"POST {PAYMENT}/refunds": (Ask(f"{OF_PAYMENT}/refunds", 201, body={"amount": 1}),),
    f"GET {PAYMENT}/refunds": (Ask(f"{OF_PAYMENT}/refunds", 200),),
    "GET /v1/refunds": (
        Ask("/v1/refunds", 200, None),
        Ask("/v1/refunds?starting_after={refund}", 200, 400),
    ),
    "GET /v1/refunds/{id}": (Ask("/v1/refunds/{refund}", 200),),
    "GET /v1/disputes": (Ask("/v1/disputes", 200, None),),
    "GET /v1/disputes/{id}": (Ask("/v1/disputes/{dispute}", 200),),
    "POST /v1/disputes/{id}/accept": (Ask("/v1/disputes/{dispute}/accept", 200, body={}),),
    "GET /v1/reconciliation": (
        Ask("/v1/reconciliation", 200, None),
        Ask(f"/v1/reconciliation?account=a&result=orphan&created_after={SINCE}", 200, None),
    ),
    "POST /v1/payment_methods": (Ask("/v1/payment_methods", 201, None, SAVED),),
    "GET /v1/payment_methods": (
        Ask("/v1/payment_methods", 200, None),
        Ask("/v1/payment_methods?starting_after={method}", 200, 400),
    ),
    "GET /v1/payment_methods/{id}": (Ask("/v1/payment_methods/{method}", 200),),
    "GET /v1/events": (
        Ask("/v1/events", 200, None),
        Ask(f"/v1/events?delivered=false&created_after={SINCE}", 200, None),
    ),
    "GET /v1/events/{id}": (Ask("/v1/events/{event}", 200),),
    "POST /v1/events/{id}/redeliver": (
        Ask("/v1/events/{event}/redeliver", 202, body={}),
        Ask("/v1/events/{event}/redeliver", 202, body={"endpoint": "{endpoint}"}),
    ),
    "POST /v1/webhook_endpoints": (Ask("/v1/webhook_endpoints", 201, None, {"url": URL}),),
    "GET /v1/webhook_endpoints": (Ask("/v1/webhook_endpoints", 200, None),),
    f"GET {ENDPOINT}": (Ask(OF_ENDPOINT, 200),),
    f"PATCH {ENDPOINT}": (Ask(OF_ENDPOINT, 200, body={"description": "changed"}),),
    f"POST {ENDPOINT}/rotate_secret": (Ask(f"{OF_ENDPOINT}/rotate_secret", 200, body={}),),
    f"POST {ENDPOINT}/ping": (Ask(f"{OF_ENDPOINT}/ping", 202, body={}),),
    f"GET {ENDPOINT}/deliveries": (Ask(f"{OF_ENDPOINT}/deliveries", 200),),
    f"POST {ENDPOINT}/recover": (Ask(f"{OF_ENDPOINT}/recover", 202, body={"since": SINCE}),),
    f"POST {ENDPOINT}/replay": (Ask(f"{OF_ENDPOINT}/replay", 202, body={"since": SINCE}),),
    "GET /v1/webhook_jobs/{id}": (Ask("/v1/webhook_jobs/{job}", 200),),
    "DELETE /v1/payment_methods/{id}": (Ask("/v1/payment_methods/{method}", 204),),
    f"DELETE {ENDPOINT}": (Ask(OF_ENDPOINT, 204),),
}
ASKED: Final = [(route, ask) for route, asks in ROUTES.items() for ask in asks]


@dataclass
class Party:
    """A merchant's client, and what they have by name."""

    client: httpx.AsyncClient
    ids: dict[str, str]

    async def ask(self, route: str, ask: Ask, ids: Mapping[str, str]) -> httpx.Response:
        path, body = ask.filled(ids)
        method = route.partition(" ")[0]
        headers = {"Idempotency-Key": random_id("key")} if method == "POST" else {}
        return await self.client.request(method, path, json=body, headers=headers)

    async def made(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.client.post(path, json=body, headers={"Idempotency-Key": random_id("key")})
        assert answer.is_success, (path, answer.text)
        return {"location": answer.headers.get("location", ""), **answer.json()}


@pytest.fixture(scope="module")
async def served(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The API with its own role, a store of receipts and a vault."""
    store = Ill(LocalStore(tmp_path_factory.mktemp("receipts")))
    async with (
        open_ledger(module_database_url) as ledger,
        serving(ledger, receipts=store, vault=a_vault()) as running,
    ):
        assert await _role_of(running.runtime.database) == "payonce_api"
        yield running


@pytest.fixture(scope="module")
async def own(served: Served) -> Party:
    return await _with_everything(served, served.client, served.ledger.merchant_id)


@pytest.fixture(scope="module")
async def theirs(served: Served) -> AsyncIterator[Party]:
    """Another merchant, who has as much."""
    async with served.ledger.database.transaction() as connection:
        merchant = await create_merchant(connection, name="Other")
        secret = served.runtime.settings.secret_for("api_keys")
        _, key = await create_key(connection, merchant_id=merchant.id, mode="test", secret=secret)
    async with httpx.AsyncClient(
        transport=served.client._transport,
        base_url="http://api.test",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield await _with_everything(served, client, merchant.id)


async def _with_everything(served: Served, client: httpx.AsyncClient, merchant_id: str) -> Party:
    async with served.ledger.database.transaction() as connection:
        await change_merchant(connection, merchant_id, card_storage="vault")
    party = Party(client, {})
    endpoint = await party.made("/v1/webhook_endpoints", {"url": URL})
    payment = await party.made("/v1/payments", payment_body())
    refund = await party.made(f"/v1/payments/{payment['id']}/refunds", {"amount": 1})
    manual = [await party.made("/v1/payments", payment_body(capture_method="manual")) for _ in range(2)]
    method = await party.made("/v1/payment_methods", SAVED)
    job = await party.made(f"/v1/webhook_endpoints/{endpoint['id']}/replay", {"since": SINCE})
    (event, *_) = (await client.get(f"/v1/payments/{payment['id']}/events")).json()["data"]
    party.ids |= {
        "endpoint": endpoint["id"],
        "payment": payment["id"],
        "refund": refund["id"],
        "authorized": manual[0]["id"],
        "undecided": manual[1]["id"],
        "method": method["id"],
        "job": job["location"].rpartition("/")[2],
        "event": event["id"],
        "dispute": await _disputed(served, payment["id"], merchant_id),
    }
    return party


async def _disputed(served: Served, payment_id: str, merchant_id: str) -> str:
    now = datetime.now(UTC)
    dispute = Dispute(
        id=random_id("dp"),
        payment_id=payment_id,
        merchant_id=merchant_id,
        mode="test",
        connector="sandbox_card",
        connector_account="account_1",
        acquirer_id=random_id("acq"),
        amount_minor=1,
        currency="INR",
        amount_withdrawn_minor=0,
        stage="chargeback",
        status=DisputeStatus.NEEDS_RESPONSE,
        reason="fraudulent",
        network_reason_code=None,
        refunded_before_minor=0,
        evidence_due_by=None,
        warned_at=None,
        said_at=now,
        created_at=now,
        updated_at=now,
    )
    async with served.ledger.database.transaction() as connection:
        await disputes.save(connection, None, dispute)
    return dispute.id


async def _role_of(database: Database) -> str:
    async with database.tenants.reading(None) as connection:
        return str((await connection.execute(text("SELECT current_user"))).scalar_one())


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") != []:
                yield f"{method.upper()} {path}"


def test_every_route_behind_an_api_key_is_asked(served: Served) -> None:
    assert set(_routes(served.app.openapi())) == {*ROUTES, STREAM}


async def test_nothing_of_another_merchant_s_is_shown_or_changed(
    served: Served, own: Party, theirs: Party
) -> None:
    before = await _shown(theirs)
    wrong = [one for route, ask in ASKED if (one := await _told(own, theirs, route, ask))]
    assert not wrong, "\n".join(wrong)
    assert await _shown(theirs) == before


async def test_nor_where_the_statements_forget_whose_it_is(served: Served, own: Party, theirs: Party) -> None:
    before = await _shown(theirs)
    with forgetting() as out:
        wrong = [one for route, ask in ASKED if (one := await _told(own, theirs, route, ask))]
    assert out["conditions"] > len(ROUTES)
    assert not wrong, "\n".join(wrong)
    assert await _shown(theirs) == before


async def test_a_stream_has_one_merchant_s_events_also_where_its_statements_forget(
    served: Served, own: Party, theirs: Party
) -> None:
    headers = {**own.client.headers, "Last-Event-ID": "from_the_beginning"}
    told = ""
    async with (
        serving_of(served.app) as socket,
        httpx.AsyncClient(base_url=socket.url, trust_env=False, timeout=60) as client,
    ):
        with forgetting():
            resumed = {**headers, "Last-Event-ID": theirs.ids["event"]}
            assert (await client.get("/v1/events/stream", headers=resumed)).status_code == 400
            async with client.stream("GET", "/v1/events/stream", headers=headers) as stream:
                assert stream.status_code == httpx.codes.OK, await stream.aread()
                lines = stream.aiter_lines()
                told += await _up_to(lines, own.ids["event"])
                live = [await party.made("/v1/payments", payment_body()) for party in (theirs, own)]
                told += await _up_to(lines, live[1]["id"])
    assert own.ids["payment"] in told
    assert not [id_ for id_ in (*theirs.ids.values(), live[0]["id"]) if id_ in told]


async def test_every_route_does_its_work_with_what_is_the_merchant_s_own(
    own: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for route, ask in ASKED:
        with monkeypatch.context() as impatient:
            if ask.answer == httpx.codes.ACCEPTED:  # nobody captures or voids here
                impatient.setattr("api.admission.admission.ANSWER_WITHIN_S", 0.5)
            got = await own.ask(route, ask, own.ids)
        if got.status_code != ask.answer:
            wrong.append(f"{route}: {got.status_code} {got.text}")
    assert not wrong, "\n".join(wrong)


async def _up_to(lines: AsyncIterator[str], id_: str) -> str:
    """What the stream says until it names this."""
    told = ""
    async with asyncio.timeout(60):
        while id_ not in told:
            told += await anext(lines)
    return told


async def _told(own: Party, theirs: Party, route: str, ask: Ask) -> str:
    """What is wrong with the answer to a request that names what is another's; nothing, where nothing is."""
    answer = await own.ask(route, ask, theirs.ids)
    leaked = [
        id_
        for id_ in theirs.ids.values()
        if id_ in answer.text and id_ not in ask.path.format_map(theirs.ids)
    ]
    expected = ask.answer if ask.of_another is None else ask.of_another
    if leaked or answer.status_code != expected:
        return f"{route} {ask.path}: {answer.status_code} {answer.text[:300]}"
    return ""


async def _shown(party: Party) -> dict[str, Any]:
    """What the party sees of what it has."""
    paths = [f"/v1/payments/{party.ids[name]}" for name in ("payment", "authorized", "undecided")]
    paths += [f"/v1/webhook_endpoints/{party.ids['endpoint']}", f"/v1/payment_methods/{party.ids['method']}"]
    paths += [f"/v1/payments/{party.ids['payment']}/refunds", "/v1/webhook_endpoints", "/v1/events"]
    return {path: (await party.client.get(path)).json() for path in paths}
