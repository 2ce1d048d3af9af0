"""`GET /v1/reconciliation`: a merchant's own findings, by account, result and time."""

from typing import Any

import httpx
import pytest

from payonce.runtime import Runtime
from tests.api.conftest import Merchant, a_merchant
from tests.api.recorded import execute

_ADD = """
    INSERT INTO reconciliations (id, merchant_id, mode, account, run, result, payment_id, operation_id,
        amount_here_minor, amount_there_minor, currency, acquirer_reference, created_at)
    VALUES (:id, :merchant, 'test', :account, 'rcr_1', :result, 'pay_1', 'pay_1', 0, 1099, 'INR', :id, :at)
"""


@pytest.fixture
async def shop(runtime: Runtime, client: httpx.AsyncClient) -> Merchant:
    """Its payments were compared at two accounts; so were another merchant's."""
    merchant, other = await a_merchant(runtime, "Compared"), await a_merchant(runtime, "Another")
    client.headers.update(merchant.headers)
    for id_, of, account, result, at in (
        (f"rec_1{merchant.id}", merchant, "a", "matched", "2026-11-01T00:00:00Z"),
        (f"rec_2{merchant.id}", merchant, "a", "charged_there", "2026-11-02T00:00:00Z"),
        (f"rec_3{merchant.id}", merchant, "b", "matched", "2026-11-03T00:00:00Z"),
        (f"rec_4{merchant.id}", other, "b", "orphan", "2026-11-03T00:00:00Z"),
    ):
        await execute(runtime, _ADD, id=id_, merchant=of.id, account=account, result=result, at=at)
    return merchant


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The fifth letter of each id."""
    response = await client.get("/v1/reconciliation", params=query)
    assert response.status_code == 200, response.text
    return [one["id"][4] for one in response.json()["data"]]


async def test_a_merchant_sees_its_own_findings(client: httpx.AsyncClient, shop: Merchant) -> None:
    assert await listed(client) == ["3", "2", "1"]
    found = (await client.get("/v1/reconciliation", params={"result": "charged_there"})).json()["data"][0]
    assert found == {
        "id": f"rec_2{shop.id}",
        "object": "reconciliation",
        "account": "a",
        "run": "rcr_1",
        "result": "charged_there",
        "payment": "pay_1",
        "operation": "pay_1",
        "amount_here": 0,
        "amount_there": 1099,
        "currency": "INR",
        "acquirer_reference": f"rec_2{shop.id}",
        "found_at": "2026-11-02T00:00:00.000Z",
        "settled_by": None,
    }


async def test_findings_are_filtered_and_paged(client: httpx.AsyncClient, shop: Merchant) -> None:
    assert await listed(client, account="a") == ["2", "1"]
    assert await listed(client, account="a", result="matched") == ["1"]
    assert await listed(client, created_after="2026-11-02T00:00:00Z") == ["3", "2"]
    assert await listed(client, created_after="2027-01-01T00:00:00Z") == []
    assert await listed(client, limit=1, starting_after=f"rec_3{shop.id}") == ["2"]
    assert await listed(client, ending_before=f"rec_2{shop.id}") == ["3"]


@pytest.mark.parametrize(
    "query", [{"result": "unknown"}, {"created_after": "yesterday"}, {"created_before": "2026-11-02"}]
)
async def test_what_is_no_filter_is_refused(
    client: httpx.AsyncClient, shop: Merchant, query: dict[str, str]
) -> None:
    assert (await client.get("/v1/reconciliation", params=query)).status_code == 400
