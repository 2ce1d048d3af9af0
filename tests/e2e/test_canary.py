"""A card, followed through the whole stack: its number and its security code are on no disk and in no answer."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import httpx
import pytest
import redis.asyncio
from psycopg import AsyncConnection

from devstack.postgres import server_url
from devstack.stack import DevStack
from payonce.storage.packing import unpack, unpack_event
from payonce.vault.keys import joined
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
from tests.e2e.saving import by, saving_at
from tests.support.metrics import metrics_of
from tests.support.openbao import KEY, StoredOpenBao, stored_openbao
from tests.support.servers import running, server_directory

APPROVED, DECLINED, MISTYPED = "4929804158137625", "4000000000009995", "4929804158137626"
CHALLENGED = "4000002500003155"
SAVED = "4242424246801353"  # in the vault: one of those test numbers whose country is known
NUMBERS = (APPROVED, DECLINED, MISTYPED, CHALLENGED, SAVED)
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
    bao: StoredOpenBao
    answers: list[bytes] = field(default_factory=list)
    payment_ids: list[str] = field(default_factory=list)


def leaks(data: bytes) -> list[str]:
    """The numbers that are in the data whole, and the security codes if all are there."""
    plain = data.replace(b" ", b"").replace(b"-", b"")
    found = [number for number in NUMBERS if number.encode() in data or number.encode() in plain]
    secrets = (*NEVER_SHOWN, CAVV, DS_TRANSACTION_ID, BROUGHT_BACK)
    found += [text for text in secrets if text.encode() in data]
    found += [
        f"{number}, written otherwise" for number in NUMBERS if any(one in data for one in _written(number))
    ]
    hashes = [hashlib.sha256(number.encode()) for number in NUMBERS]
    found += [f"a hash of {hash_.name}" for hash_ in hashes if hash_.digest() in data]
    found += [f"a hash of {hash_.name}" for hash_ in hashes if hash_.hexdigest().encode() in data.lower()]
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
    at_stripe = {"metadata": {"sandbox_account": "stripe"}, "return_url": "https://shop.example/back"}
    paid = await shop.paid(payment_method=method, authentication=HANDED_IN, **at_stripe)
    assert (paid["status"], paid["connector"]) == ("captured", "stripe")
    refused = {**method, "card": {**method["card"], "number": CHALLENGED}}
    answer = await shop.pay(payment_method=refused, authentication=HANDED_IN, **at_stripe)
    assert answer.status_code == 402, answer.text
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


async def save(shop: Merchant, bao: StoredOpenBao) -> None:
    """The number comes into the vault, with a payment and alone, and is taken out again; then without OpenBao."""
    new = [card(SAVED, cvc=code) for code in SECURITY_CODES]
    paid = await asyncio.gather(*(shop.paid(payment_method=one, setup="off_session") for one in new))
    tokens = [payment["payment_method"]["card"]["token"] for payment in paid]
    again = [by(token, cvc=code) for token, code in zip(tokens, SECURITY_CODES, strict=True)]
    await asyncio.gather(*(shop.paid(payment_method=one) for one in again))
    await shop.paid(payment_method=by(tokens[0]), off_session=True, reason="recurring")
    alone = await shop.post("/v1/payment_methods", new[0])
    assert alone.status_code == 201, alone.text
    assert (await shop.client.delete(f"/v1/payment_methods/{alone.json()['id']}")).is_success
    bao.pause()
    try:
        unsaved = await asyncio.gather(
            *(shop.ask("/v1/payments", order(payment_method=one, setup="off_session")) for one in new),
            *(shop.ask("/v1/payment_methods", one) for one in new),
        )
        with_code = await asyncio.gather(
            *(shop.ask("/v1/payments", order(payment_method=one)) for one in again)
        )
        waiting = await shop.pay(payment_method=by(tokens[0]))
    finally:
        bao.resume()
    assert {answer.status_code for answer in (*unsaved, *with_code)} == {503}
    assert waiting.status_code == 202, waiting.text
    await shop.settled(waiting.json())


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
    with server_directory() as directory:
        async with (
            stored_openbao(directory) as bao,
            running(environ=bao.environ, product_environ={"PAYONCE_LOG_LEVEL": "debug"}) as stack,
        ):
            done = Traffic(stack, bao)
            await _pass_through(done)
            yield done


async def _pass_through(done: Traffic) -> None:
    async def keep(response: httpx.Response) -> None:
        await response.aread()
        done.answers.append(repr(response.headers.raw).encode() + response.content)

    stack = done.stack
    async with merchant_with(stack.api_url, stack.api_key) as shop, saving_at(stack) as saving:
        shop.client.event_hooks["response"].append(keep)
        saving.client.event_hooks["response"].append(keep)
        for method in cards():
            await pay_well(shop, method)
            await pay_badly(shop, method)
            await come_back(shop, method)
        await save(saving, done.bao)
        await pay_into_trouble(stack, shop)
        for path in ("/v1/payments", "/v1/refunds", "/v1/events"):
            page = (await shop.get(path, limit=100)).json()
            done.payment_ids += [found["id"] for found in page["data"] if found.get("object") == "payment"]
        done.answers += [(await metrics_of(stack, name)).encode() for name in stack.metrics_urls]


def test_no_answer_holds_card_data(traffic: Traffic) -> None:
    assert len(traffic.answers) > 100
    assert leaks(b"\n".join(traffic.answers)) == []


def test_no_log_holds_card_data(traffic: Traffic) -> None:
    logs = {path.name: path.read_bytes() for path in traffic.stack.log_dir.iterdir()}
    assert any(id_.encode() in logs["api.log"] for id_ in traffic.payment_ids)
    assert {name: leaks(data) for name, data in logs.items() if leaks(data)} == {}


async def test_no_file_of_a_server_holds_card_data(traffic: Traffic) -> None:
    """Heap and write-ahead log of Postgres, the database of Temporal, the acquirer's ledger, and all the rest."""
    async with _postgres(traffic.stack):
        data = dict(_contents(traffic.stack.options.directory))
    known = traffic.payment_ids[0].encode()
    for where in (lambda path: "base" in path.parts, lambda path: "pg_wal" in path.parts, _of_temporal):
        assert any(known in content for path, content in data.items() if where(path)), (
            "the search finds nothing"
        )
    assert {str(path): leaks(content) for path, content in data.items() if leaks(content)} == {}


async def test_no_body_that_is_kept_packed_holds_card_data(traffic: Traffic) -> None:
    """The search of the files does not see into these."""
    async with _postgres(traffic.stack) as connection:
        found = await connection.execute("SELECT body, id, payment_id, created_at FROM events")
        told = [
            (stored, unpack_event(stored, id_=id_, payment_id=payment_id, created_at=created_at))
            for stored, id_, payment_id, created_at in await found.fetchall()
        ]
        answered = await _column(
            connection, "SELECT answer_body FROM idempotency_keys WHERE answer_body IS NOT NULL"
        )
    for kept in (told, [(stored, unpack(stored)) for stored in answered]):
        bodies = [body for _, body in kept]
        assert any(len(body) > len(stored) for stored, body in kept)
        known = b"".join(bodies)
        assert any(id_.encode() in known for id_ in traffic.payment_ids), "the search finds nothing"
        assert [leaks(body) for body in bodies if leaks(body)] == []


async def test_the_search_passes_the_vault_and_the_audit_log(traffic: Traffic) -> None:
    """Where each of them lies, and in the write-ahead log, it finds what it is known to hold."""
    async with _postgres(traffic.stack) as connection:
        records = await _column(connection, "SELECT id FROM vault.cards WHERE erase_at IS NULL")
        taken = await _column(
            connection, "SELECT DISTINCT subject FROM audit.entries WHERE action = 'card.taken'"
        )
        of_vault = await _files_of(connection, "vault")
        of_audit = await _files_of(connection, "audit")
        data = dict(_contents(traffic.stack.options.directory))
    assert len(records) >= len(SECURITY_CODES)
    assert len(set(records) & set(taken)) >= len(SECURITY_CODES)
    for ours, known in ((of_vault, records), (of_audit, taken)):
        for where in (lambda path, ours=ours: _is_one_of(path, ours), lambda path: "pg_wal" in path.parts):
            held = b"".join(content for path, content in data.items() if where(path))
            assert all(one.encode() in held for one in known), "the search finds nothing"


async def test_neither_openbao_s_storage_nor_what_it_was_asked_holds_card_data(traffic: Traffic) -> None:
    """It is asked about data keys, each by its record: of the card it knows nothing, not even sealed."""
    async with _postgres(traffic.stack) as connection:
        records = await _column(connection, "SELECT id FROM vault.cards WHERE erase_at IS NULL")
        numbers = await _column(connection, "SELECT ciphertext FROM vault.cards")
    bao = traffic.bao
    data = dict(_contents(bao.directory))
    asked = data[bao.audit_log]
    for record in records:
        assert base64.b64encode(joined(("data key", record, KEY))) in asked, "the search finds nothing"
    storage = [content for path, content in data.items() if path.suffix == ".db"]
    assert any(f"policy/{KEY}".encode() in content for content in storage), "the search finds nothing"
    assert {str(path): leaks(content) for path, content in data.items() if leaks(content)} == {}
    assert not any(base64.b64encode(number) in asked for number in numbers)


async def test_a_saved_number_s_hashes_are_in_the_vault_s_own_files_and_the_write_ahead_log_alone(
    traffic: Traffic,
) -> None:
    async with _postgres(traffic.stack) as connection:
        ours = await _files_of(connection, "vault")
        hashes = await _column(
            connection, "SELECT hash FROM vault.fingerprint_hashes UNION SELECT hash FROM vault.saves"
        )
    assert hashes
    places = {
        path: "vault" if _is_one_of(path, ours) else path.parent.name
        for folder in (traffic.stack.options.directory, traffic.bao.directory)
        for path, content in _contents(folder)
        if any(_is_in(hash_, content) for hash_ in hashes)
    }
    assert set(places.values()) == {"vault", "pg_wal"}, places


async def test_redis_holds_no_card_data(traffic: Traffic) -> None:
    async with redis.asyncio.from_url(traffic.stack.redis_url) as client:
        async for key in client.scan_iter():
            assert leaks(key + (await client.dump(key) or b"")) == []


def test_the_search_finds_a_number_and_a_security_code() -> None:
    assert leaks(b'{"number":"4929804158137625"}') == [APPROVED]
    assert leaks(b"4929-8041-5813-7625") == [APPROVED]
    for before in (b"", b"n", b"no"):
        text = base64.b64encode(before + APPROVED.encode() + b" and more")
        assert f"{APPROVED}, written otherwise" in leaks(text)  # a number like it is in it, too
    assert leaks(b"\\x" + APPROVED.encode().hex().encode()) == [f"{APPROVED}, written otherwise"]
    assert leaks(b'x=0973 "0816", 0529\n') == ["the security codes"]
    assert leaks(b"492980******7625 0973 10:00:00.0816 0529") == []


@asynccontextmanager
async def _postgres(stack: DevStack) -> AsyncIterator[AsyncConnection]:
    """All of it is on the disk."""
    url = server_url(stack.port("postgres"), "payonce")
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CHECKPOINT")
        yield connection


async def _column(connection: AsyncConnection, query: LiteralString) -> list[Any]:
    return [value for (value,) in await (await connection.execute(query)).fetchall()]


async def _files_of(connection: AsyncConnection, schema: str) -> set[str]:
    """Where the schema's tables and indexes lie, and what is too long for a row."""
    found = await connection.execute(
        "SELECT pg_relation_filepath(oid) FROM pg_class"
        " WHERE relnamespace IN (%s::regnamespace, 'pg_toast'::regnamespace) AND relkind IN ('r', 'i', 't')",
        [schema],
    )
    return {path for (path,) in await found.fetchall()}


def _is_one_of(path: Path, files: set[str]) -> bool:
    return any(str(path).endswith(f"/{one}") for one in files)


def _written(number: str) -> list[bytes]:
    """The number in base64, wherever in the text it begins, and in hexadecimal."""
    texts = [base64.b64encode(bytes(before) + number.encode()) for before in range(3)]
    inner = [text[(0, 2, 3)[before] : -4] for before, text in enumerate(texts)]
    return [*inner, number.encode().hex().encode()]


def _is_in(hash_: bytes, data: bytes) -> bool:
    return hash_ in data or hash_.hex().encode() in data


def _of_temporal(path: Path) -> bool:
    return path.name.startswith("temporal.sqlite")


def _contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every regular file below the directory, and what is in it; servers that run take some away meanwhile."""
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink():
                yield path, path.read_bytes()
