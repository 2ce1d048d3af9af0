"""A card, followed through the whole stack: its number and its security code are on no disk and in no answer."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from psycopg import AsyncConnection

from devstack.postgres import server_url
from devstack.stack import DevStack
from tests.e2e.merchant import (
    EVERY_MEMBER,
    NEVER_SHOWN,
    Body,
    Merchant,
    card,
    fresh_key,
    merchant_with,
    order,
)
from tests.support.metrics import metrics_of
from tests.support.servers import running

APPROVED, DECLINED, MISTYPED = "4929804158137625", "4000000000009995", "4929804158137626"
CHALLENGED = "4000002500003155"
NUMBERS = (APPROVED, DECLINED, MISTYPED, CHALLENGED)
BROUGHT_BACK = "pi_canary_secret_7GzLwPq0XvB3"  # by a browser, and declared by nobody
CAVV, DS_TRANSACTION_ID = "3q2+78r+ur7erb7vyv66vv////8=", "f25084f0-5b16-4c0a-ae5d-b24808a95e4b"
HANDED_IN: Body = {
    **{"version": "2.2.0", "trans_status": "Y", "eci": "05"},
    **{"cavv": CAVV, "ds_transaction_id": DS_TRANSACTION_ID},
}
SECURITY_CODES = ("0973", "0816", "0529")  # four digits turn up by chance: only all three together are a leak
FAULTS = (
    *("error_after_charge", "reset_after_charge", "garbage", "amount_mismatch", "slow:100"),
    "inquire:garbage,error_after_charge",
)

_CODE_ALONE = r"(?<![0-9A-Za-z.]){}(?![0-9A-Za-z])"
_CODES = [re.compile(_CODE_ALONE.format(code).encode()) for code in SECURITY_CODES]


@dataclass
class Traffic:
    """The stack after the card went through it, every answer kept."""

    stack: DevStack
    answers: list[bytes] = field(default_factory=list)
    payment_ids: list[str] = field(default_factory=list)


def leaks(data: bytes) -> list[str]:
    """The numbers that are in the data whole, and the security codes if all are there."""
    plain = data.replace(b" ", b"").replace(b"-", b"")
    found = [number for number in NUMBERS if number.encode() in data or number.encode() in plain]
    secrets = (*NEVER_SHOWN, CAVV, DS_TRANSACTION_ID, BROUGHT_BACK)
    found += [text for text in secrets if text.encode() in data]
    codes = all(pattern.search(data) for pattern in _CODES)
    return found + (["the security codes"] if codes else [])


def cards() -> Iterator[Body]:
    """The card with each of its security codes."""
    for code in SECURITY_CODES:
        yield card(APPROVED, cvc=code)


async def pay_well(shop: Merchant, method: Body) -> None:
    await shop.refunded(await shop.paid(payment_method=method, **EVERY_MEMBER))
    await shop.pay(payment_method={"type": "upi", "upi": {"flow": "qr"}}, **EVERY_MEMBER)
    payment = await shop.authorized(payment_method=method, authentication=HANDED_IN)
    await shop.captured(payment, amount=500, final=False)
    await shop.voided(payment)
    await shop.events(payment)
    await shop.pay(payment_method={**method, "card": {**method["card"], "number": DECLINED}})


async def pay_badly(shop: Merchant, method: Body) -> None:
    """The card in every place where it does not belong."""
    number, code = method["card"]["number"], method["card"]["cvc"]
    wrong: list[Body] = [
        {"payment_method": {**method, "card": {**method["card"], "number": MISTYPED}}},
        {"payment_method": card(number, cvc=code, exp_year=2020)},
        {"payment_method": card(number, cvc=code, pin=code)},
        {"payment_method": {**method, "cvc": code}},
        {"payment_method": {"type": "wallet", "wallet": {"provider": "apple_pay", "token": number + code}}},
        {"payment_method": number, "currency": number, "amount": number, number: code},
        {"description": f"card {number} cvc {code}"},
        {"authentication": {**HANDED_IN, "eci": "5"}},
        {"authentication": HANDED_IN, "sca": {"challenge": "force"}},
        {"authentication": {**HANDED_IN, "cavv": DS_TRANSACTION_ID, "ds_transaction_id": CAVV}},
        {"metadata": {"card": number, number: code}},
        {"customer": {"id": number, "phone": number}, "merchant_reference": number},
    ]
    for changes in wrong:
        answer = await shop.pay(**{"payment_method": method, **changes})
        assert answer.status_code in (400, 422), answer.text
    body = json.dumps(order(payment_method=method)).encode()
    json_type = {"Content-Type": "application/json", "Idempotency-Key": fresh_key()}
    for content, headers in (
        (body[:-1], json_type),
        (body + b" " * 300_000, json_type),
        (body, {**json_type, "Content-Type": "text/plain"}),
        (body, {**json_type, "Idempotency-Key": number}),
        (body, {**json_type, "Authorization": f"Bearer {number}"}),
    ):
        assert (await shop.client.post("/v1/payments", content=content, headers=headers)).is_client_error
    await shop.client.post(f"/v1/payments?number={number}&cvc={code}", content=body, headers=json_type)
    await shop.get(f"/v1/payments/{number}")
    await shop.get("/v1/payments", merchant_reference=number, starting_after=number)


async def come_back(shop: Merchant, method: Body) -> None:
    """The holder passes the challenge, and the browser brings back more than anybody asked for."""
    asked = {**method, "card": {**method["card"], "number": CHALLENGED}}
    stray = {"payment_intent_client_secret": BROUGHT_BACK, BROUGHT_BACK: "1"}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:
        for by_form in (False, True):
            payment = await shop.paid(payment_method=asked)
            page = payment["next_action"]["url"]
            passed = await browser.post(page, data={"decision": "submit", "code": "123456"})
            ours = httpx.URL(passed.headers["Location"])
            if by_form:
                back = await browser.post(ours, data=stray)
            else:
                back = await browser.get(ours.copy_merge_params(stray))
            assert back.status_code == 200
            assert leaks(repr(back.headers.raw).encode() + back.content) == []
            await shop.settled(payment)


async def pay_into_trouble(stack: DevStack, shop: Merchant) -> None:
    """Faults of the acquirer, then the acquirer and Postgres gone."""
    trouble = [(fault, method) for fault in FAULTS for method in cards()]
    pending = await asyncio.gather(
        *(
            shop.pay(payment_method=method, authentication=HANDED_IN, metadata={"sandbox_fault": fault})
            for fault, method in trouble
        )
    )
    for answer in pending:
        if answer.status_code == 202:
            await shop.settled(answer.json())
    for part in ("acquirer", "postgres"):
        await stack.kill(part)
        refused = await asyncio.gather(
            *(
                shop.ask("/v1/payments", order(payment_method=method, authentication=HANDED_IN))
                for method in cards()
            )
        )
        assert {answer.status_code for answer in refused} <= {503, 504}, [answer.text for answer in refused]
        await stack.start(part)


@pytest.fixture(scope="module")
async def traffic() -> AsyncIterator[Traffic]:
    """Everything that can be done with the card was done, at the log level that says most."""
    async with running(product_environ={"PAYONCE_LOG_LEVEL": "debug"}) as stack:
        done = Traffic(stack)

        async def keep(response: httpx.Response) -> None:
            await response.aread()
            done.answers.append(repr(response.headers.raw).encode() + response.content)

        async with merchant_with(stack.api_url, stack.api_key) as shop:
            shop.client.event_hooks["response"].append(keep)
            for method in cards():
                await pay_well(shop, method)
                await pay_badly(shop, method)
                await come_back(shop, method)
            await pay_into_trouble(stack, shop)
            for path in ("/v1/payments", "/v1/refunds", "/v1/events"):
                page = (await shop.get(path, limit=100)).json()
                done.payment_ids += [
                    found["id"] for found in page["data"] if found.get("object") == "payment"
                ]
            done.answers += [(await metrics_of(stack, name)).encode() for name in stack.metrics_urls]
        yield done


def test_no_answer_holds_card_data(traffic: Traffic) -> None:
    assert len(traffic.answers) > 100
    assert leaks(b"\n".join(traffic.answers)) == []


def test_no_log_holds_card_data(traffic: Traffic) -> None:
    logs = {path.name: path.read_bytes() for path in traffic.stack.log_dir.iterdir()}
    assert any(id_.encode() in logs["api.log"] for id_ in traffic.payment_ids)
    assert {name: leaks(data) for name, data in logs.items() if leaks(data)} == {}


async def test_no_file_of_a_server_holds_card_data(traffic: Traffic) -> None:
    """Heap and write-ahead log of Postgres, the database of Temporal, the acquirer's ledger, and all the rest."""
    stack = traffic.stack
    url = server_url(stack.port("postgres"), "payonce")
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CHECKPOINT")
    data = {path: path.read_bytes() for path in _files(stack.options.directory)}
    known = traffic.payment_ids[0].encode()
    for where in (lambda path: "base" in path.parts, lambda path: "pg_wal" in path.parts, _of_temporal):
        assert any(known in content for path, content in data.items() if where(path)), (
            "the search finds nothing"
        )
    assert {str(path): leaks(content) for path, content in data.items() if leaks(content)} == {}


async def test_redis_holds_no_card_data(traffic: Traffic) -> None:
    async with redis.asyncio.from_url(traffic.stack.redis_url) as client:
        async for key in client.scan_iter():
            assert leaks(key + (await client.dump(key) or b"")) == []


def test_the_search_finds_a_number_and_a_security_code() -> None:
    assert leaks(b'{"number":"4929804158137625"}') == [APPROVED]
    assert leaks(b"4929-8041-5813-7625") == [APPROVED]
    assert leaks(b'x=0973 "0816", 0529\n') == ["the security codes"]
    assert leaks(b"492980******7625 0973 10:00:00.0816 0529") == []


def _of_temporal(path: Path) -> bool:
    return path.name.startswith("temporal.sqlite")


def _files(directory: Path) -> Iterator[Path]:
    """Every regular file below the directory."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path
