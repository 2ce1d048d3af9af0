"""A payment's attempts, read from a real Postgres: what is shown of each, to whom, and in which pages."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from api.openapi.objects import PaymentAttemptView
from payonce.domain.evidence import kept_decline
from payonce.domain.operations import OperationKind, OperationStatus, operation_of
from payonce.runtime import Runtime
from payonce.storage.payments import insert_operation, insert_payment
from payonce.storage.tables import attempts
from tests.api.conftest import Merchant
from tests.api.fakes import NOW, a_payment

OWNER, TOKEN, THEIRS, IDENTITY = "boot_of_the_owner", "token_of_the_claim", "acq_ref_1", "acct_identity"
NETWORKS = {
    "decline_code": "do_not_honor",
    "network_decline_code": "05",
    "secret_detail": "from the acquirer",
}
DECLINED = kept_decline(NETWORKS, where="never", code="do_not_honor")


@pytest.fixture(scope="module")
async def made(runtime: Runtime, merchant: Merchant, other_merchant: Merchant) -> None:
    """One payment with five attempts, one of the other mode, one of another merchant, one without any."""
    await _pay(runtime, merchant, "pay_tried")
    await _attempt(runtime, "pay_tried", "pay_tried", 1, state="declined", decline=DECLINED, routed_by="own")
    await _attempt(runtime, "pay_tried", "pay_tried", 2, state="approved", routed_by="soft_decline")
    await _attempt(runtime, "pay_tried", "op_tried", 1, state="unknown", kind="capture", routed_by="payment")
    await _attempt(
        runtime, "pay_tried", "re_old", 1, state="declined", kind="refund", decline={"where": "same"}
    )
    await _attempt(runtime, "pay_tried", "re_lost", 1, state="not_processed", kind="refund", failure_code="x")
    await _pay(runtime, merchant, "pay_live", mode="live")
    await _attempt(runtime, "pay_live", "pay_live", 1, state="approved")
    await _pay(runtime, other_merchant, "pay_theirs")
    await _attempt(runtime, "pay_theirs", "pay_theirs", 1, state="approved")
    await _pay(runtime, merchant, "pay_untried")


_KINDS = {"pay_": OperationKind.AUTHORIZE, "op_": OperationKind.CAPTURE, "re_": OperationKind.REFUND}
_OLD_ERROR = {"code": "payment_declined", "decline_code": "lost_card", "message": "", "advice": "never_retry"}


async def _pay(runtime: Runtime, merchant: Merchant, id_: str, **changes: Any) -> None:
    paid = a_payment(id=id_, merchant_id=merchant.id, idempotency_key=id_, **changes)
    names = [id_, "op_tried", "re_old", "re_lost"] if id_ == "pay_tried" else [id_]
    async with runtime.database.transaction() as connection:
        await insert_payment(connection, paid)
        for name in names:
            kind = next(kind for prefix, kind in _KINDS.items() if name.startswith(prefix))
            error = _OLD_ERROR if name == "re_old" else None
            status = OperationStatus.FAILED
            made = operation_of(
                paid, kind, id_=name, amount_minor=1, now=NOW, status=status, last_error=error
            )
            await insert_operation(connection, made, sweep_at=NOW + timedelta(days=9))


_order = iter(range(100))


async def _attempt(runtime: Runtime, payment_id: str, operation_id: str, number: int, **values: Any) -> None:
    at = NOW + timedelta(seconds=next(_order))
    row = {
        "operation_id": operation_id,
        "number": number,
        "payment_id": None if payment_id == operation_id else payment_id,  # packed
        "kind": "authorize",
        "connector": "stripe",
        "connector_account": "stripe_eu",
        "reference": f"{operation_id}-{number}" if operation_id == "op_tried" else None,  # packed
        "owner": OWNER,
        "token": TOKEN,
        "send_before": at,
        "claimed_at": at,
        "connector_reference": THEIRS,
        "acquirer_identity": IDENTITY,
        "evidence": {"authorization_code": "authcode"},
        "return_hash": f"{operation_id}-{number}".encode(),
        **values,
    }
    async with runtime.database.transaction() as connection:
        await connection.execute(insert(attempts).values(row))


async def _page(client: httpx.AsyncClient, payment_id: str = "pay_tried", **query: Any) -> httpx.Response:
    response = await client.get(f"/v1/payments/{payment_id}/attempts", params=query)
    return response.raise_for_status()


@pytest.mark.usefixtures("made")
async def test_every_attempt_of_every_operation_is_shown_newest_first(client: httpx.AsyncClient) -> None:
    page = (await _page(client)).json()
    assert (page["object"], page["has_more"]) == ("list", False)
    shown = [
        (each["operation"], each["number"], each["state"], each["reason"], each["decline_code"])
        for each in page["data"]
    ]
    assert shown == [
        ("refund", 1, "not_processed", None, None),
        ("refund", 1, "declined", None, "lost_card"),
        ("capture", 1, "unknown", "payment", None),
        ("authorize", 2, "approved", "soft_decline", None),
        ("authorize", 1, "declined", "own", "do_not_honor"),
    ]


@pytest.mark.usefixtures("made")
async def test_an_attempt_has_the_members_of_the_contract_and_no_other(client: httpx.AsyncClient) -> None:
    response = await _page(client)
    assert response.json()["data"][-1] == {
        "number": 1,
        "operation": "authorize",
        "connector": "stripe",
        "account": "stripe_eu",
        "state": "declined",
        "reason": "own",
        "decline_code": "do_not_honor",
        "network_decline_code": "05",
        "created_at": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    for each in response.json()["data"]:
        PaymentAttemptView.model_validate(each)
    for hidden in (OWNER, TOKEN, THEIRS, IDENTITY, "authcode", "secret_detail", "from the acquirer"):
        assert hidden not in response.text


@pytest.mark.usefixtures("made")
async def test_a_payment_without_attempts_has_an_empty_list(client: httpx.AsyncClient) -> None:
    response = await _page(client, "pay_untried")
    assert response.json() == {"object": "list", "data": [], "has_more": False}
    assert "link" not in response.headers


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("payment_id", ["pay_theirs", "pay_live", "pay_none"])
async def test_another_merchants_and_another_modes_are_not_there(
    client: httpx.AsyncClient, payment_id: str
) -> None:
    response = await client.get(f"/v1/payments/{payment_id}/attempts")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.usefixtures("made")
async def test_pages_are_found_by_their_links_both_ways(client: httpx.AsyncClient) -> None:
    everything = (await _page(client)).json()["data"]
    pages = [await _page(client, limit=2)]
    while "next" in pages[-1].links and len(pages) < 9:
        pages.append(await client.get(pages[-1].links["next"]["url"]))
    assert [len(page.json()["data"]) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page.json()["data"]] == everything
    assert "prev" not in pages[0].links
    back = await client.get(pages[2].links["prev"]["url"])
    assert back.json() == {**pages[1].json(), "has_more": True}
    first = await client.get(back.links["prev"]["url"])
    assert first.json() == {**pages[0].json(), "has_more": False}
    assert set(first.links) == {"next"}


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    "query",
    ["starting_after=pay_theirs-1", "ending_before=pay_live-1", "starting_after=pay_tried", "state=x"],
)
async def test_a_cursor_of_another_list_is_refused(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/v1/payments/pay_tried/attempts?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
