"""The page to which customers come back, over a real Postgres: what is taken, what is not, and what either costs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from temporalio.client import Client

from activities.messages import ActionDue, InquiryDue, ReversalDue
from api.admission.admission import Admission
from api.app import build_app
from api.routes import returns as page
from payonce.accounts import Accounts
from payonce.domain.facts import ActionRequired, Cancelled, DeclineCode, Declined
from payonce.domain.operations import AttemptState, Operation
from payonce.domain.payment import PaymentStatus
from payonce.returns import Returns, Visit
from payonce.runtime import Runtime
from payonce.sealing import CannotUnseal, Sealed
from payonce.storage import returns as store
from tests.storage.acting import SEALER, FakeConnector, Process
from tests.storage.admitting import NoTemporal
from tests.storage.customers import UPI, asked, create_of, given_up, lapsed, of_payment
from tests.storage.ledger import IDS, FakeRedis, Ledger, runtime_of, subject
from tests.support.rows import captured
from workers.inbox import Inbox

A, S = AttemptState, PaymentStatus
SHOP = "https://shop.example/back?basket=1&payment=old#top"
SENT_ON = "https://shop.example/back?basket=1&payment={}#top"
DECLARED = frozenset({"result", "MD"})


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an outcome that does not come."""
    monkeypatch.setattr(page, "OUTCOME_WITHIN_S", 0.0)


@dataclass
class Page:
    """A browser, and the process that it comes to."""

    process: Process
    runtime: Runtime
    browser: httpx.AsyncClient
    inbox: Inbox
    spoken: list[str]  # what workflows were told
    transactions: list[None]  # that could write, the test's own among them

    async def waiting(
        self, *, fact: ActionRequired | None = None, return_url: str | None = SHOP
    ) -> tuple[Operation, str]:
        """A payment whose customer was sent to the acquirer, and the path at which they come back."""
        create = await create_of(self.process.ledger, claimed=False)
        query = "UPDATE payments SET return_url = :url WHERE id = :id"
        await self.process.ledger.rows(query, id=create.payment_id, url=return_url)
        self.process.connector.answers["send"] = fact or asked()
        await self.process.attempt(create)
        return create, await self.path(create)

    async def path(self, create: Operation) -> str:
        attempt = await self.process.ledger.latest(create.id)
        token = IDS.return_token(reference=attempt.reference, claim=attempt.token)
        return f"/v1/returns/{token}"

    async def sets(self, create: Operation) -> list[Any]:
        query = "SELECT * FROM returns WHERE operation_id = :id ORDER BY number"
        return list(await self.process.ledger.rows(query, id=create.id))

    async def written(self, create: Operation) -> tuple[Any, ...]:
        """All that a return could change."""
        ledger = self.process.ledger
        inbox = await ledger.rows(
            "SELECT event_id FROM callbacks WHERE reference LIKE :id", id=f"{create.id}%"
        )
        return (
            await ledger.payment(create.payment_id),
            await ledger.operation(create.id),
            await ledger.latest(create.id),
            await ledger.events(create.payment_id),
            len(await self.sets(create)),
            len(inbox),
        )


class Redis(FakeRedis):
    """With what only requests of merchants use."""

    def register_script(self, _script: str) -> None:
        pass


class Spy(NoTemporal):
    """Temporal as far as it is told of returns."""

    def __init__(self, spoken: list[str]) -> None:
        self._spoken = spoken

    async def signal(self, _name: Any, *_args: Any, **options: Any) -> None:
        self._spoken.append(str(options.get("args", _args)))


@pytest.fixture
async def visited(shared_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    connector = FakeConnector(capabilities=replace(UPI, return_parameters=DECLARED))
    process = Process(shared_ledger, connector)
    accounts = Accounts(connectors={"account_1": connector})
    runtime = replace(runtime_of(shared_ledger), accounts=accounts, redis=cast("Any", Redis()))
    spoken: list[str] = []
    transactions: list[None] = []
    begin = shared_ledger.database.transaction

    @asynccontextmanager
    async def counted(*pools: Any) -> AsyncIterator[Any]:
        transactions.append(None)
        async with begin(*pools) as connection:
            yield connection

    monkeypatch.setattr(shared_ledger.database, "transaction", counted)
    inbox = Inbox(runtime, cast("Client", Spy(spoken)))
    app = build_app(runtime, cast("Admission", None), {}, inbox)
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as browser:
        yield Page(process, runtime, browser, inbox, spoken, transactions)
    await inbox.drain()


async def test_a_customer_who_is_back_is_asked_nothing_more(visited: Page) -> None:
    create, path = await visited.waiting()
    response = await visited.browser.get(path, params={"result": "secret-1", "undeclared": "x"})
    assert response.status_code == 303
    assert response.headers["Location"] == SENT_ON.format(create.payment_id)
    paid, of, attempt, *_ = await visited.written(create)
    assert (paid.status, paid.next_action, attempt.state) == (S.PROCESSING, None, A.WAITING)
    assert attempt.returned_at is not None
    assert of.deferred_at is not None
    assert await of_payment(visited.process, create) == ["requires_action", "processing"]


async def test_only_what_the_connector_declares_is_kept_and_sealed(visited: Page) -> None:
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "secret-1", "undeclared": "4242424242424242"})
    (row,) = await visited.sets(create)
    assert b"secret-1" not in bytes(row.sealed)
    attempt = await visited.process.ledger.latest(create.id)
    sealed = Sealed(row.key_id, bytes(row.sealed))
    sealer = visited.runtime.sealer
    assert store.unseal(sealer, sealed, attempt, number=1) == {"result": "secret-1"}
    with pytest.raises(CannotUnseal):
        store.unseal(sealer, sealed, attempt, number=2)
    with pytest.raises(CannotUnseal):
        store.unseal(SEALER, sealed, attempt, number=1)


async def test_a_form_brings_the_same_as_a_query(visited: Page) -> None:
    create, path = await visited.waiting()
    assert (await visited.browser.post(path, data={"MD": "1", "other": "2"})).status_code == 303
    before = await visited.written(create)
    assert (await visited.browser.get(path, params={"MD": "1"})).status_code == 303
    assert await visited.written(create) == before


async def test_an_equal_set_writes_and_signals_nothing(visited: Page) -> None:
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "1", "MD": "2"})
    await visited.inbox.drain()
    before = await visited.written(create)
    spoken, transactions = len(visited.spoken), len(visited.transactions)
    for query in ("MD=2&result=1", "result=1&MD=2&result=another&x=y"):
        response = await visited.browser.get(f"{path}?{query}")
        assert response.headers["Location"] == SENT_ON.format(create.payment_id)
    assert (len(visited.spoken), len(visited.transactions)) == (spoken, transactions)
    assert await visited.written(create) == before


async def test_equal_returns_at_once_are_one(visited: Page) -> None:
    create, path = await visited.waiting()
    transactions = len(visited.transactions)
    answers = await asyncio.gather(*(visited.browser.get(path, params={"result": "1"}) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {303}
    await visited.inbox.drain()
    assert len(visited.transactions) - transactions == 2  # the return, and that the inbox handed it over
    assert len(visited.spoken) == 1
    assert len(await visited.sets(create)) == 1


async def test_a_storm_of_different_sets_leaves_five_and_few_signals(visited: Page) -> None:
    create, path = await visited.waiting()
    for number in range(15):
        assert (await visited.browser.get(path, params={"result": str(number)})).status_code == 303
    assert [row.number for row in await visited.sets(create)] == [1, 2, 3, 4, 5]
    assert await of_payment(visited.process, create) == ["requires_action", "processing"]
    assert len(visited.spoken) <= 5


async def test_an_address_that_is_asked_for_too_often_is_not_looked_up(
    visited: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, path = await visited.waiting()
    answers = [await visited.browser.get(path) for _ in range(page.OF_TOKEN.burst + 3)]
    assert [answer.status_code for answer in answers].count(429) >= 1
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].headers["Content-Type"].startswith("text/html")
    assert len(await visited.sets(create)) == 1


@pytest.mark.parametrize("token", ["x" * 43, "short", "../../etc", "%00", "a" * 200])
async def test_a_forged_token_costs_no_look_at_postgres(
    visited: Page, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(visited.runtime.database, "browsing", None)
    for response in (
        await visited.browser.get(f"/v1/returns/{token}"),
        await visited.browser.post(f"/v1/returns/{token}", data={"result": "1"}),
    ):
        assert response.status_code == 404


async def test_a_token_of_no_claim_is_nobodys(visited: Page) -> None:
    token = IDS.return_token(reference="pay_a1-1", claim="run_1")
    response = await visited.browser.get(f"/v1/returns/{token}")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}],
    ids=str,
)
async def test_what_is_fetched_ahead_of_time_is_no_return(visited: Page, headers: dict[str, str]) -> None:
    create, path = await visited.waiting()
    before = await visited.written(create)
    assert (await visited.browser.get(path, headers=headers)).status_code == 403
    assert await visited.written(create) == before


async def test_a_head_is_no_return(visited: Page) -> None:
    create, path = await visited.waiting()
    before = await visited.written(create)
    response = await visited.browser.head(path)
    assert response.content == b""
    assert await visited.written(create) == before


@pytest.mark.parametrize("body", [b"result=" + b"x" * 17_000, b"x" * 20_000])
async def test_a_form_that_is_too_large_is_no_return(visited: Page, body: bytes) -> None:
    create, path = await visited.waiting()
    before = await visited.written(create)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await visited.browser.post(path, content=body, headers=headers)).status_code == 413
    assert await visited.written(create) == before


async def test_a_second_leg_needs_something_to_send(visited: Page) -> None:
    """A link scanner that drops the query spends nothing of what the customer brings."""
    create, path = await visited.waiting(fact=replace(asked(), completes="resume"))
    before = await visited.written(create)
    await visited.browser.get(path, params={"undeclared": "1"})
    assert await visited.written(create) == before
    await visited.browser.get(path, params={"result": "1"})
    assert len(await visited.sets(create)) == 1


async def test_a_return_after_the_time_to_act_changes_nothing(visited: Page) -> None:
    create, path = await visited.waiting()
    await lapsed(visited.process.ledger, create)
    before = await visited.written(create)
    response = await visited.browser.get(path, params={"result": "1"})
    assert response.headers["Location"] == SENT_ON.format(create.payment_id)
    assert await visited.written(create) == before


async def test_a_return_after_a_void_changes_nothing(visited: Page) -> None:
    create, path = await visited.waiting()
    await given_up(visited.process, create)
    before = await visited.written(create)
    assert (await visited.browser.get(path, params={"result": "1"})).status_code == 303
    assert await visited.written(create) == before


async def test_a_void_after_a_return_gives_the_payment_up(visited: Page) -> None:
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "1"})
    await given_up(visited.process, create)
    attempt = await visited.process.ledger.latest(create.id)
    assert (attempt.state, attempt.abandoned) == (A.UNKNOWN, True)
    visited.process.connector.answers["cancel"] = Cancelled()
    recorder = visited.process.ledger.recorder()
    voided = await recorder.record(subject(create), attempt=1, fact=Cancelled())
    assert voided.payment.status is S.VOIDED


async def test_of_a_void_and_a_return_at_once_one_comes_first(visited: Page) -> None:
    create, path = await visited.waiting()
    await asyncio.gather(
        visited.browser.get(path, params={"result": "1"}), given_up(visited.process, create, by="both")
    )
    attempt = await visited.process.ledger.latest(create.id)
    assert attempt.abandoned
    told = await of_payment(visited.process, create)
    first = ["requires_action"] if attempt.returned_at is None else ["requires_action", "processing"]
    assert told == first
    assert len(await visited.sets(create)) == len(told) - 1


async def test_who_came_back_and_did_nothing_is_abandoned_once_the_acquirer_confirms(visited: Page) -> None:
    """Cancel on the page leaves the challenge open, and sends the browser back."""
    connector = cast("FakeConnector", visited.process.connector)
    connector.capabilities = replace(connector.capabilities, challenge_ends="cancelled")
    create, path = await visited.waiting()
    await visited.browser.get(path)
    connector.answers |= {"inquire": asked(), "cancel": Cancelled()}
    assert isinstance(await visited.process.resolve("inquire", create), ActionDue)
    await lapsed(visited.process.ledger, create)
    assert isinstance(await visited.process.resolve("inquire", create), ReversalDue)
    await visited.process.resolve("reverse", create, not_found=False)
    paid = await visited.process.ledger.payment(create.payment_id)
    assert paid.last_error is not None
    assert (paid.status, paid.last_error["code"]) == (S.FAILED, "abandoned")
    assert await of_payment(visited.process, create) == ["requires_action", "processing", "failed"]


async def test_where_the_acquirer_ends_it_itself_a_success_after_the_time_counts(visited: Page) -> None:
    connector = cast("FakeConnector", visited.process.connector)
    create, path = await visited.waiting()
    await visited.browser.get(path)
    await lapsed(visited.process.ledger, create)
    connector.answers["inquire"] = asked()
    assert isinstance(await visited.process.resolve("inquire", create), InquiryDue)
    connector.answers["inquire"] = captured(create)
    await visited.process.resolve("inquire", create)
    told = await of_payment(visited.process, create)
    assert told == ["requires_action", "processing", "authorized", "captured"]


@pytest.mark.parametrize("fact", [None, Declined(DeclineCode.DO_NOT_HONOR)], ids=["paid", "declined"])
async def test_with_the_outcome_what_was_brought_back_is_erased(visited: Page, fact: Declined | None) -> None:
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "secret"})
    recorder = visited.process.ledger.recorder()
    await recorder.record(subject(create), attempt=1, fact=fact or captured(create))
    (row,) = await visited.sets(create)
    assert (row.key_id, row.sealed) == (None, None)
    before = await visited.written(create)
    assert (await visited.browser.get(path, params={"result": "late"})).status_code == 303
    assert await visited.written(create) == before


async def test_what_never_had_an_outcome_is_erased_after_its_days(visited: Page) -> None:
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "secret"})
    ledger = visited.process.ledger
    async with ledger.database.transaction() as connection:
        assert await store.erase(connection, limit=10) == 0
    over = datetime.now(UTC) - store.KEPT - timedelta(minutes=1)
    await ledger.rows(
        "UPDATE returns SET received_at = :over WHERE operation_id = :id", over=over, id=create.id
    )
    async with ledger.database.transaction() as connection:
        assert await store.erase(connection, limit=10) == 1
    assert (await visited.sets(create))[0].sealed is None


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("paid", "Your payment went through"),
        (Declined(DeclineCode.DO_NOT_HONOR), "Your payment did not go through"),
        (None, "Your payment is being processed"),
    ],
    ids=str,
)
async def test_without_a_return_url_our_own_page_says_it_in_words(
    visited: Page, fact: Any, words: str
) -> None:
    create, path = await visited.waiting(return_url=None)
    if fact is not None:
        outcome = captured(create) if fact == "paid" else fact
        await visited.process.ledger.recorder().record(subject(create), attempt=1, fact=outcome)
    response = await visited.browser.get(path, params={"result": "<script>"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f"<title>{words}</title>" in response.text
    assert '<html lang="en">' in response.text
    assert 'name="viewport"' in response.text
    for of_the_payment in (create.payment_id, "1000", "acq-", "<script", "10.00"):
        assert of_the_payment not in response.text


async def test_every_answer_has_the_headers_of_a_page_that_nobody_may_use(visited: Page) -> None:
    _, path = await visited.waiting()
    answers = [
        await visited.browser.get(path),
        await visited.browser.get("/v1/returns/nobody"),
        await visited.browser.get(path, headers={"Purpose": "prefetch"}),
    ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        policy = answer.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"


async def test_what_a_browser_brings_is_in_no_log(visited: Page, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    create, path = await visited.waiting()
    await visited.browser.get(path, params={"result": "canary-1", "undeclared": "canary-2"})
    await visited.browser.post(path, data={"MD": "canary-3"})
    await visited.inbox.drain()
    written = "".join(capfd.readouterr())
    assert "payment_processing" in written  # the return was logged, and without what it brought
    for secret in ("canary-1", "canary-2", "canary-3", path.removeprefix("/v1/returns/")):
        assert secret not in written
    stored = json.dumps([list(map(str, row)) for row in await visited.sets(create)])
    assert "canary" not in stored


async def test_who_waits_is_sent_on_with_the_outcome(visited: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "OUTCOME_WITHIN_S", 60.0)
    create, path = await visited.waiting(return_url=None)

    async def decided() -> None:
        while (await visited.process.ledger.payment(create.payment_id)).status is not S.PROCESSING:
            await asyncio.sleep(0.01)
        await visited.process.ledger.recorder().record(subject(create), attempt=1, fact=captured(create))

    deciding = asyncio.create_task(decided())
    response = await visited.browser.get(path, params={"result": "1"})
    await deciding
    assert "Your payment went through" in response.text


FIRST_PAGE, SECOND_PAGE = (
    {"type": "redirect", "url": f"https://acquirer.example/{path}"} for path in ("first", "second")
)


async def once_more(visited: Page, create: Operation, action: dict[str, str]) -> None:
    """What the customer brought back makes the acquirer want them there, once that is told."""
    while (await visited.process.ledger.payment(create.payment_id)).status is not S.PROCESSING:
        await asyncio.sleep(0.01)
    further = replace(asked(), action=action, further=True)
    await visited.process.ledger.recorder().record(subject(create), attempt=1, fact=further)


@pytest.mark.parametrize("action", [SECOND_PAGE, FIRST_PAGE], ids=["another page", "the same page"])
async def test_whom_the_acquirer_wants_once_more_is_led_there_once_and_not_in_circles(
    visited: Page, monkeypatch: pytest.MonkeyPatch, action: dict[str, str]
) -> None:
    monkeypatch.setattr(page, "OUTCOME_WITHIN_S", 60.0)
    create, path = await visited.waiting(fact=replace(asked(), action=FIRST_PAGE))
    asking = asyncio.create_task(once_more(visited, create, action))
    response = await visited.browser.get(path, params={"result": "1"})
    await asking
    assert (response.status_code, response.headers["Location"]) == (303, action["url"])
    monkeypatch.setattr(page, "OUTCOME_WITHIN_S", 0.0)
    again = await visited.browser.get(path, params={"result": "1"})
    assert again.headers["Location"] == SENT_ON.format(create.payment_id)


async def test_a_double_click_is_led_where_one_click_is(
    visited: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "OUTCOME_WITHIN_S", 60.0)
    create, path = await visited.waiting(fact=replace(asked(), action=FIRST_PAGE))
    find, found = Returns.find, asyncio.Barrier(2)

    async def both_found(self: Returns, token: str) -> Visit | None:
        visit = await find(self, token)
        await found.wait()
        return visit

    monkeypatch.setattr(Returns, "find", both_found)
    asking = asyncio.create_task(once_more(visited, create, SECOND_PAGE))
    clicks = [visited.browser.get(path, params={"result": "1"}) for _ in range(2)]
    answers = await asyncio.gather(*clicks)
    await asking
    assert [answer.headers["Location"] for answer in answers] == [SECOND_PAGE["url"]] * 2
    assert len(await visited.sets(create)) == 1


async def test_in_the_process_that_claims_the_acquirer_gets_our_address_and_never_the_merchants(
    visited: Page,
) -> None:
    create, path = await visited.waiting()
    assert visited.runtime.return_pages.address(
        reference=(await visited.process.ledger.latest(create.id)).reference,
        claim=(await visited.process.ledger.latest(create.id)).token,
    ).endswith(path)
