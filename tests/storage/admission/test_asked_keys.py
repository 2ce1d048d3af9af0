"""What a retry of a key gets whose customer was asked to act: then, when they are back, and once it is decided."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from activities.messages import ActionDue
from api.admission.waiting import Result
from payonce.connectors.base import Call, MaySend
from payonce.domain.answers import Answer
from payonce.domain.errors import NotSent
from payonce.domain.facts import Approved, Cancelled, DeclineCode, Declined, Fact, Stage
from payonce.domain.operations import Attempt, Operation, Subject
from payonce.storage import idempotency
from payonce.storage.driver.connection import Connection
from payonce.storage.returns import Carried
from tests.storage.acting import CAPABILITIES, FakeConnector
from tests.storage.admitting import Shop, post
from tests.storage.customers import asked, lapsed
from tests.storage.ledger import Ledger

ASKING = replace(CAPABILITIES, needs_action=True)
NO = Declined(DeclineCode.INSUFFICIENT_FUNDS)


@dataclass
class Asks(FakeConnector):
    """Remembers where customers are to come back to."""

    return_urls: list[str | None] = field(default_factory=list)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        self.return_urls.append(call.return_url)
        return await super().send(call, may_send=may_send)


@dataclass
class Asked:
    """A payment whose customer was asked, and what the create was answered."""

    shop: Shop
    first: Result

    async def retried(self) -> tuple[int, dict[str, Any], Result]:
        """The status code, what is shown, and the result."""
        result = await self.shop.create("another")
        body = result.current if result.answer is None else result.answer.body
        assert body is not None
        kinds = {"payment": 201, "payment_declined": 402, "payment_failed": 402}
        return (202 if result.answer is None else kinds[result.answer.kind]), json.loads(body), result

    async def comes_back(self, **parameters: str) -> None:
        runtime = self.shop.runtime
        carried = Carried.of(parameters, sealer=runtime.sealer, secret=b"secret")
        await runtime.recorder.returned(self.subject, attempt=1, carried=carried)

    async def records(self, fact: Fact) -> None:
        await self.shop.runtime.recorder.record(self.subject, attempt=1, fact=fact)

    @property
    def subject(self) -> Subject:
        return Subject(self.shop.payment_id, self.shop.payment_id)

    async def create(self) -> Operation:
        return await self.shop.ledger.operation(self.shop.payment_id)

    async def attempt(self) -> Attempt:
        return await self.shop.ledger.latest(self.shop.payment_id)


@pytest.fixture
async def waiting(ledger: Ledger) -> Asked:
    shop = Shop(ledger, connector=Asks(capabilities=ASKING, answers={"send": asked()}))
    request = await shop.created(1, "first")
    assert isinstance(await shop.run(), ActionDue)
    return Asked(shop, await request)


def approved() -> Approved:
    return Approved("acq-authorize", 1000, "INR", stage=None)


async def test_while_the_customer_may_act_a_retry_gets_the_same_bytes(waiting: Asked) -> None:
    assert waiting.first.answer is not None
    for _ in range(2):
        status, _shown, result = await waiting.retried()
        assert result.answer is not None
        assert (status, result.answer.body, result.replayed) == (201, waiting.first.answer.body, True)
    shown = json.loads(waiting.first.answer.body)
    assert shown["status"] == "requires_action"


async def test_an_answer_that_is_stored_between_two_looks_is_the_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one look found none yet, and the next that the customer is asked: that is 201, and no 202."""
    shop = Shop(ledger, connector=Asks(capabilities=ASKING, answers={"send": asked()}))
    find, recorded = idempotency.find_answer, list[Any]()

    async def then_recorded(connection: Connection, **key: str) -> Answer | None:
        found = await find(connection, **key)
        if found is None and not recorded:
            recorded.append(await shop.run())
        return found

    monkeypatch.setattr(idempotency, "find_answer", then_recorded)
    result = await (await shop.created(1, "first"))
    assert isinstance(recorded[0], ActionDue)
    assert result.answer is not None
    assert result.answer.kind == "payment"


async def test_from_the_first_return_on_a_retry_gets_the_payment_as_it_is(waiting: Asked) -> None:
    await waiting.comes_back()
    status, shown, result = await waiting.retried()
    assert (status, shown["status"], shown["next_action"]) == (202, "processing", None)
    assert not result.replayed


async def test_when_the_time_is_over_a_retry_gets_the_payment_as_it_is(waiting: Asked) -> None:
    """Also before anybody has recorded that it is."""
    await lapsed(waiting.shop.ledger, await waiting.create())
    over = (
        "UPDATE payments SET next_action ="
        " jsonb_set(next_action::jsonb, '{expires_at}', '\"2026-01-01T00:00:00.000Z\"')::json"
    )
    await waiting.shop.ledger.rows(over)
    status, shown, _ = await waiting.retried()
    assert (status, shown["id"]) == (202, waiting.shop.payment_id)


@pytest.mark.parametrize("returned", [True, False], ids=["after a return", "without one"])
@pytest.mark.parametrize(("fact", "status", "kept"), [("yes", 201, "captured"), (NO, 402, "failed")], ids=str)
async def test_the_outcome_is_what_is_kept(
    waiting: Asked, fact: Any, status: int, kept: str, returned: bool
) -> None:
    if returned:
        await waiting.comes_back()
    await waiting.records(replace(approved(), stage=Stage.CAPTURED) if fact == "yes" else fact)
    first = await waiting.retried()
    assert first[0] == status
    assert first[1].get("payment", first[1])["status"] == kept
    assert first[2].replayed
    second = await waiting.retried()
    assert first[2].answer == second[2].answer


async def test_a_retry_after_a_void_gets_202_and_then_that_nothing_was_paid(waiting: Asked) -> None:
    await waiting.shop.admission.void(post(waiting.shop.ledger, "v"), waiting.shop.payment_id, reason=None)
    status, shown, _ = await waiting.retried()
    assert (status, shown["next_action"], shown["pending_operation"]["type"]) == (202, None, "void")
    await waiting.records(Cancelled())
    status, problem, _ = await waiting.retried()
    assert (status, problem["code"], problem["payment"]["status"]) == (402, "payment_failed", "voided")


async def test_a_success_that_a_void_waits_for_is_the_answer_of_the_create(waiting: Asked) -> None:
    await waiting.shop.admission.void(post(waiting.shop.ledger, "v"), waiting.shop.payment_id, reason=None)
    await waiting.records(approved())
    status, shown, _ = await waiting.retried()
    assert (status, shown["status"]) == (201, "authorized")


async def test_the_acquirer_gets_our_address_of_this_very_claim(waiting: Asked) -> None:
    attempt = await waiting.attempt()
    pages = waiting.shop.runtime.return_pages
    assert waiting.shop.connector.return_urls == [
        pages.address(reference=attempt.reference, claim=attempt.token)
    ]
    hashes = await waiting.shop.ledger.rows("SELECT return_hash FROM attempts")
    assert [len(bytes(row.return_hash)) for row in hashes] == [32]


@pytest.mark.parametrize("in_memory", [True, False], ids=["a card in memory", "all in Postgres"])
async def test_a_further_attempt_has_an_address_of_its_own(ledger: Ledger, in_memory: bool) -> None:
    capabilities = replace(ASKING, data_in_memory=in_memory)
    connector = Asks(capabilities=capabilities, answers={"send": NotSent()})
    shop = Shop(ledger, connector=connector)
    request = await shop.created(1, "first")
    await shop.run()
    connector.answers["send"] = asked()
    await shop.run()
    result = await request
    assert result.answer is not None
    pages = shop.runtime.return_pages
    attempts = await ledger.rows(
        "SELECT operation_id || '-' || number AS reference, token FROM attempts ORDER BY number"
    )
    assert len(attempts) == 2
    assert connector.return_urls == [
        pages.address(reference=attempt.reference, claim=attempt.token) for attempt in attempts
    ]
    hashes = await ledger.rows("SELECT return_hash IS NOT NULL AS asked FROM attempts ORDER BY number")
    assert [row.asked for row in hashes] == [False, True]


async def test_an_attempt_that_steps_up_has_an_address_of_its_own(ledger: Ledger) -> None:
    connector = Asks(capabilities=replace(ASKING, soft_decline="resend"))
    connector.answers["send"] = Declined(DeclineCode.AUTHENTICATION_REQUIRED, soft=True)

    async def then() -> None:
        if len(connector.return_urls) == 2:
            connector.answers["send"] = asked()

    connector.before = then
    shop = Shop(ledger, connector=connector)
    request = await shop.created(1, "first")
    assert isinstance(await shop.run(), ActionDue)
    await request
    pages = shop.runtime.return_pages
    attempts = await ledger.rows(
        "SELECT operation_id || '-' || number AS reference, token FROM attempts ORDER BY number"
    )
    assert connector.return_urls == [
        pages.address(reference=attempt.reference, claim=attempt.token) for attempt in attempts
    ]
    assert len(set(connector.return_urls)) == 2


async def test_an_account_that_asks_nobody_gets_no_address_and_no_hash_is_stored(ledger: Ledger) -> None:
    shop = Shop(ledger, connector=Asks(answers={"send": replace(approved(), stage=Stage.CAPTURED)}))
    request = await shop.created(1, "first")
    await shop.run()
    await request
    assert shop.connector.return_urls == [None]
    assert [row.return_hash for row in await ledger.rows("SELECT return_hash FROM attempts")] == [None]
