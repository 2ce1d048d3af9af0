"""A payment's QR code as an image, without an API key."""

import httpx
import pytest

from payonce.domain.payment import Payment, PaymentStatus
from payonce.runtime import Runtime
from tests.api.conftest import Merchant
from tests.api.recorded import ACTION, LINK, added


@pytest.fixture(scope="module")
async def asked(runtime: Runtime, merchant: Merchant) -> Payment:
    """A payment whose customer is to scan a code."""
    status = PaymentStatus.REQUIRES_ACTION
    return await added(runtime, merchant, id="pay_qr", status=status, next_action=ACTION)


@pytest.mark.parametrize(
    ("accept", "media_type", "magic"),
    [
        ("*/*", "image/svg+xml", b"<?xml"),
        ("image/png", "image/png", b"\x89PNG"),
        ("image/svg+xml,image/png", "image/svg+xml", b"<?xml"),
        ("image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8", "image/png", b"\x89PNG"),
    ],
)
async def test_the_code_is_an_image_of_the_kind_asked_for(
    client: httpx.AsyncClient, asked: Payment, accept: str, media_type: str, magic: bytes
) -> None:
    client.headers.pop("Authorization")
    response = await client.get(f"/v1/payments/{asked.id}/qr", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.content.startswith(magic)


@pytest.mark.parametrize("id_", ["pay_nobody", "pay_intent", "pay_done", "no%20id"])
async def test_there_is_no_code_where_nobody_is_to_scan_one(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant, id_: str
) -> None:
    if id_ == "pay_intent":
        action = {"type": "upi_intent", "url": LINK, "expires_at": ACTION["expires_at"]}
        await added(runtime, merchant, id=id_, status=PaymentStatus.REQUIRES_ACTION, next_action=action)
    if id_ == "pay_done":
        await added(runtime, merchant, id=id_, status=PaymentStatus.FAILED)
    response = await client.get(f"/v1/payments/{id_}/qr")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_the_drawing_is_as_large_as_its_frame(client: httpx.AsyncClient, asked: Payment) -> None:
    """On a phone too: with a size of its own it was cropped at 360 pixels."""
    drawn = (await client.get(f"/v1/payments/{asked.id}/qr")).text
    assert "viewBox" in drawn
    assert ' width="' not in drawn
