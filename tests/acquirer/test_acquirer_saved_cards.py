"""Cards that the acquirer keeps: a token with the approval, paid with by it, deleted."""

import sqlite3
from typing import Any

import httpx
import pytest
from acquirer_process import Acquirer, answered

PLAIN = "4242424242424242"
DECLINED = "4000000000000002"
CHALLENGED = "4000002500003155"


def by(acquirer: Acquirer, token: str, **changes: Any) -> dict[str, Any]:
    return {**acquirer.order(payment_reference="pay_2"), "capture": True, "token": token, **changes}


async def pay(acquirer: Acquirer, token: str, **changes: Any) -> dict[str, Any]:
    return answered(await acquirer.post("/authorizations", by(acquirer, token, **changes)))


async def delete(acquirer: Acquirer, token: str) -> httpx.Response:
    return await acquirer.post("/tokens/deletions", {"reference": f"{token}-deletion", "token": token})


@pytest.mark.parametrize("save", ["on_session", "off_session"])
async def test_a_card_is_kept_with_its_approval(acquirer: Acquirer, save: str) -> None:
    body = acquirer.authorization(save=save)
    first = answered(await acquirer.post("/authorizations", body))
    assert first["token"].startswith("tok_")
    assert answered(await acquirer.post("/authorizations", body)) == first
    assert answered(await acquirer.inquire(body["reference"]))["token"] == first["token"]
    assert "token" not in await acquirer.authorize()


async def test_a_card_that_is_declined_or_reversed_has_no_token(acquirer: Acquirer) -> None:
    assert "token" not in await acquirer.authorize(number=DECLINED, save="on_session")
    reference = (await acquirer.authorize(save="on_session"))["reference"]
    await acquirer.reverse(reference)
    assert "token" not in answered(await acquirer.inquire(reference))


async def test_a_challenge_gives_the_token_once_it_is_passed(acquirer: Acquirer) -> None:
    asked = await acquirer.authorize(number=CHALLENGED, save="off_session")
    assert (asked["status"], "token" in asked) == ("pending", False)
    assert "token" not in answered(await acquirer.inquire(asked["reference"]))
    await acquirer.answer("submit")
    token = answered(await acquirer.inquire(asked["reference"]))["token"]
    assert (await pay(acquirer, token))["status"] == "pending"  # its issuer wants that each time
    unattended = await pay(acquirer, token, off_session=True)
    assert (unattended["decline_code"], unattended["soft"]) == ("authentication_required", True)


@pytest.mark.parametrize("off_session", [False, True])
async def test_a_token_pays_once(acquirer: Acquirer, off_session: bool) -> None:
    token = (await acquirer.authorize(save="off_session"))["token"]
    body = by(acquirer, token, off_session=off_session)
    first = answered(await acquirer.post("/authorizations", body))
    assert answered(await acquirer.post("/authorizations", body)) == first
    assert (first["status"], "token" in first) == ("approved", False)
    assert await acquirer.moved(body["reference"]) == ["authorize", "capture"]
    (*_, asked) = await acquirer.requests(reference=body["reference"])
    assert asked["card"] == "424242******4242"


async def test_a_deleted_token_pays_nothing_and_is_deleted_again(acquirer: Acquirer) -> None:
    token = (await acquirer.authorize(save="off_session"))["token"]
    assert [answered(await delete(acquirer, token))["status"] for _ in range(2)] == ["deleted"] * 2
    refused = await pay(acquirer, token)
    assert (refused["status"], refused["decline_code"]) == ("declined", "processing_error")
    assert await acquirer.moved(refused["reference"]) == []


async def test_a_token_that_nobody_was_given(acquirer: Acquirer) -> None:
    unknown = "tok_" + "0" * 24
    assert (await delete(acquirer, unknown)).json() == {"error": "not_found"}
    assert (await pay(acquirer, unknown))["status"] == "declined"


async def test_a_token_survives_a_restart(acquirer: Acquirer) -> None:
    token = (await acquirer.authorize(save="off_session"))["token"]
    await acquirer.stop()
    await acquirer.start()
    assert (await pay(acquirer, token))["status"] == "approved"


@pytest.mark.parametrize("changes", [{"token": "tok_1"}, {"card": None}, {"save": "for_ever"}])
async def test_what_is_no_order(acquirer: Acquirer, changes: dict[str, Any]) -> None:
    response = await acquirer.post("/authorizations", acquirer.authorization(**changes))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_no_number_is_kept(acquirer: Acquirer) -> None:
    token = (await acquirer.authorize(save="off_session"))["token"]
    await pay(acquirer, token)
    with sqlite3.connect(acquirer.data) as db:
        assert PLAIN not in "\n".join(db.iterdump())
