"""Jobs: what an endpoint missed, or a range by type, page by page, surviving a kill (§2.4, 7 and 10)."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client

from payonce.domain.payment_methods import SavedState
from payonce.storage.outbox import add_payment_method_event
from payonce.storage.webhooks import jobs
from payonce.storage.webhooks.endpoints import Endpoint
from payonce.storage.webhooks.jobs import JobPage, JobPages, unstarted
from payonce.storage.webhooks.queue import Lane
from payonce.storage.webhooks.redeliveries import Job, add_job, add_ping, find_job
from tests.support.eventually import eventually
from tests.support.rows import saved_card
from tests.webhooks.attempting import ended, record, take
from tests.webhooks.handing_over import connected, relay_process
from tests.webhooks.receiver import receiving
from tests.webhooks.shop import Shop
from workers.webhooks import handover
from workers.webhooks.dispatch import WebhookDispatcher

URL = "https://merchant.example/"
PAGES = JobPages()


async def missed(shop: Shop, endpoint: Endpoint, *types: str, times: int = 1) -> None:
    """Events that the endpoint did not get, since it was disabled."""
    await shop.execute("UPDATE webhook_endpoints SET enabled = false WHERE id = :id", id=endpoint.id)
    for _ in range(times):
        await shop.record(*types)
    await shop.execute("UPDATE webhook_endpoints SET enabled = true WHERE id = :id", id=endpoint.id)


async def job_for(
    shop: Shop,
    endpoint: Endpoint,
    *,
    kind: Any = "recover",
    types: Any = ("*",),
    ago: timedelta = timedelta(0),
) -> Job:
    """Of the hour before, or of one that is as long ago."""
    now = datetime.now(UTC) - ago
    async with shop.database.transaction() as connection:
        return await add_job(
            connection,
            endpoint,
            kind=kind,
            since=now - timedelta(hours=1),
            until=now,
            types=types,
            request_id=None,
            now=now,
        )


async def page(shop: Shop, job: Job) -> JobPage:
    async with shop.database.transaction() as connection:
        taken = await PAGES.take_page(connection, job.id)
    assert taken is not None
    return taken


async def killed_before_the_commit(shop: Shop, job: Job) -> None:
    with suppress(SystemExit):
        async with shop.database.transaction() as connection:
            await PAGES.take_page(connection, job.id)
            raise SystemExit


async def to_the_end(shop: Shop, job: Job) -> JobPage:
    for _ in range(100):
        taken = await page(shop, job)
        if taken.ended:
            return taken
    raise AssertionError(taken)


async def made(shop: Shop) -> list[dict[str, Any]]:
    return [row for row in await shop.deliveries() if row["cause"] != "event"]


async def test_what_an_endpoint_missed_is_delivered_in_order_as_new_deliveries_of_the_same_events(
    shop: Shop,
) -> None:
    endpoint = await shop.endpoint(URL, ordered=True)
    await missed(shop, endpoint, "payment.authorized", "payment.captured", times=2)
    job = await job_for(shop, endpoint)

    done = await to_the_end(shop, job)

    rows = await made(shop)
    assert (done.state, done.done, done.total, len(rows)) == ("finished", 4, 4, 4)
    assert {(row["cause"], row["ordered"], row["status"]) for row in rows} == {("recovery", True, "pending")}
    assert [row["sequence"] for row in rows] == [1, 2, 1, 2]
    assert all(row["payment_id"] for row in rows)


async def test_what_it_has_or_is_getting_is_not_recovered(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    (lease,) = await take(shop)
    await record(shop, ended(lease, "succeeded"))
    await shop.record("payment.captured")
    await shop.record("payment.captured")
    leases = await take(shop)
    await record(shop, ended(leases[0], "exhausted"))

    done = await to_the_end(shop, await job_for(shop, endpoint))

    (again,) = await made(shop)
    assert (done.done, again["event_id"]) == (1, leases[0].event_id)


async def test_a_replay_takes_the_types_asked_for_and_those_that_succeeded_too(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.authorized", "payment.captured")
    await record(shop, *(ended(lease, "succeeded") for lease in await take(shop)))

    job = await job_for(shop, endpoint, kind="replay", types=("payment.captured",))
    done = await to_the_end(shop, job)

    (again,) = await made(shop)
    assert (done.done, again["type"], again["cause"]) == (1, "payment.captured", "replay")


@pytest.mark.parametrize("kind", ["recover", "replay"])
async def test_what_is_told_of_saved_cards_is_delivered_again_and_pings_are_not(
    shop: Shop, kind: Any
) -> None:
    pinged, endpoint = await shop.endpoint(URL), await shop.endpoint(URL, enabled=False)
    now = datetime.now(UTC)
    async with shop.database.transaction() as connection:
        saved = saved_card(shop.merchant.id, state=SavedState.DELETED)
        await add_payment_method_event(connection, saved, "payment_method.deleted", now=now)
        await add_ping(connection, pinged, now=now)
    await shop.execute("UPDATE webhook_endpoints SET enabled = true WHERE id = :id", id=endpoint.id)

    job = await job_for(shop, endpoint, kind=kind)
    done = await to_the_end(shop, job)

    (again,) = [row for row in await made(shop) if row["endpoint_id"] == endpoint.id]
    assert (done.done, job.total, again["type"]) == (1, 1, "payment_method.deleted")


async def test_a_job_that_is_killed_between_pages_goes_on_where_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=8)
    job = await job_for(shop, endpoint)
    first = await page(shop, job)
    await killed_before_the_commit(shop, job)

    done = await to_the_end(shop, job)

    assert (first.done, first.state, done.done) == (3, "running", 8)
    assert set(Counter(row["event_id"] for row in await made(shop)).values()) == {1}


async def test_two_runs_of_one_job_at_a_time_deliver_each_event_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 2)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=9)
    job = await job_for(shop, endpoint)

    await asyncio.gather(*(to_the_end(shop, job) for _ in range(4)))

    assert set(Counter(row["event_id"] for row in await made(shop)).values()) == {1}
    assert len(await made(shop)) == 9


async def test_events_of_one_moment_are_never_split_between_pages(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 1)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.processing", "payment.authorized", "payment.captured")
    job = await job_for(shop, endpoint)

    assert (await page(shop, job)).done == 3


async def test_a_job_reads_nothing_that_was_written_after_its_span(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=2)
    await shop.execute("UPDATE events SET created_at = created_at - interval '3 days'")
    await missed(shop, endpoint, "payment.captured", times=9)
    job = await job_for(shop, endpoint, ago=timedelta(days=3))

    pages = [await page(shop, job) for _ in range(2)]

    assert [(each.done, each.total, each.state) for each in pages] == [(2, 2, "running"), (2, 2, "finished")]


async def test_what_lies_between_a_transaction_bound_and_the_span_is_passed_by_in_the_index(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions are told by six hours: a busy merchant's recovery of minutes had read hours, 500 a page."""
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=24)
    await missed(shop, endpoint, "payment.voided", times=4)
    afternoon = (datetime.now(UTC) - timedelta(days=1)).replace(hour=13)
    await shop.execute("UPDATE events SET created_at = :at", at=afternoon)
    missing = afternoon + timedelta(hours=2)
    await shop.execute("UPDATE events SET created_at = :at WHERE type = 'payment.voided'", at=missing)
    job = await job_for(shop, endpoint, ago=datetime.now(UTC) - missing - timedelta(minutes=30))

    assert [(await page(shop, job)).done for _ in range(2)] == [3, 4]


async def test_a_page_reads_no_further_than_its_reach(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a wrong clock has widened the transactions of a span."""
    monkeypatch.setattr(jobs, "REACH_EVENTS", 10)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=24)
    await shop.execute("UPDATE events SET created_at = created_at - interval '1 year'")
    await shop.execute(
        "UPDATE events SET created_at = now() - interval '1 minute'"
        " WHERE xid IN ((SELECT min(xid) FROM events), (SELECT max(xid) FROM events))"
    )
    job = await job_for(shop, endpoint)

    assert [(await page(shop, job)).done for _ in range(3)] == [1, 1, 2]
    assert (await to_the_end(shop, job)).done == 2


async def test_events_of_before_transactions_were_noted_are_taken_page_by_page(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=8)
    await shop.execute("UPDATE events SET xid = '0'")
    job = await job_for(shop, endpoint)

    assert [(await page(shop, job)).done for _ in range(3)] == [3, 6, 8]
    assert (await to_the_end(shop, job)).done == 8


async def test_a_job_that_an_earlier_release_began_is_gone_on_with(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went by time, and had a time and an event for its place."""
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=8)
    job = await job_for(shop, endpoint, kind="replay")
    assert (await page(shop, job)).done == 3
    await shop.execute("UPDATE webhook_jobs SET position_id = 'evt_', position_xid = NULL")

    assert (await to_the_end(shop, job)).done == 8
    assert set(Counter(row["event_id"] for row in await made(shop)).values()) == {1}


async def test_a_job_waits_while_the_endpoint_has_enough_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BACKLOG_MAX", 2)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.voided")
    for _ in range(3):
        await shop.record("payment.captured")
    job = await job_for(shop, endpoint)

    waiting = await page(shop, job)
    await record(shop, *(ended(lease, "succeeded") for lease in await take(shop)))
    done = await to_the_end(shop, job)

    assert (waiting.done, waiting.state, waiting.obstacle) == (
        0,
        "running",
        "2 deliveries wait for the endpoint",
    )
    assert (done.done, done.state) == (1, "finished")


async def test_a_job_ends_at_the_cap(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOB_EVENTS_MAX", 3)
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=5)

    done = await to_the_end(shop, await job_for(shop, endpoint))

    assert (done.done, done.state) == (3, "finished")


async def test_a_job_of_a_disabled_endpoint_fails_and_stays_so(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured")
    job = await job_for(shop, endpoint)
    await shop.execute("UPDATE webhook_endpoints SET enabled = false")

    assert (await page(shop, job)).state == "failed"
    assert (await page(shop, job)).state == "failed"
    async with shop.database.transaction() as connection:
        found = await find_job(connection, job.id, merchant_id=shop.merchant.id, mode="test")
    assert found is not None
    assert found.finished_at is not None


@pytest.mark.parametrize("kind", ["recover", "replay"])
async def test_a_job_takes_what_a_transaction_that_began_earlier_commits_later(shop: Shop, kind: Any) -> None:
    """However long that takes: nothing is passed over, and none comes twice."""
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=2)
    await shop.execute("UPDATE webhook_endpoints SET enabled = false WHERE id = :id", id=endpoint.id)
    async with shop.database.transaction() as connection:
        late = await shop.write(connection, "payment.authorized", "payment.captured")
        await shop.record("payment.voided")  # begun later, visible earlier
        await shop.execute("UPDATE webhook_endpoints SET enabled = true WHERE id = :id", id=endpoint.id)
        job = await job_for(shop, endpoint, kind=kind)
        waiting = [await page(shop, job) for _ in range(3)]
        before = await made(shop)
    assert [(each.done, each.obstacle) for each in waiting] == [
        (2, None),
        *([(2, "the newest events are being written")] * 2),
    ]

    done = await to_the_end(shop, job)

    after = await made(shop)
    assert (done.state, done.done) == ("finished", 5)
    assert len(before) == 2
    assert [row["event_id"] for row in after if row["event_id"] in late] == late
    assert len({row["event_id"] for row in after}) == len(after) == 5


async def test_a_job_loses_nothing_that_sixteen_write_beside_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 7)
    endpoint = await shop.endpoint(URL)
    await shop.execute("UPDATE webhook_endpoints SET enabled = false WHERE id = :id", id=endpoint.id)

    async def write() -> None:
        for _ in range(5):
            await shop.record("payment.authorized", "payment.captured")

    writing = [asyncio.create_task(write()) for _ in range(16)]
    await shop.recorded(40)
    await shop.execute("UPDATE webhook_endpoints SET enabled = true WHERE id = :id", id=endpoint.id)
    job = await job_for(shop, endpoint)
    ending = asyncio.create_task(to_the_end(shop, job))
    await asyncio.gather(*writing)
    assert (await ending).state == "finished"

    each = Counter(row["event_id"] for row in await shop.deliveries())
    assert (len(each), set(each.values())) == (160, {1})


async def test_jobs_that_nobody_started_are_found(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    old, new = await job_for(shop, endpoint), await job_for(shop, endpoint)
    await shop.execute(
        "UPDATE webhook_jobs SET created_at = now() - interval '11 s' WHERE id = :id", id=old.id
    )

    async with shop.database.transaction() as connection:
        assert await unstarted(connection, limit=9) == [old.id]
    await to_the_end(shop, old)
    await to_the_end(shop, new)
    async with shop.database.transaction() as connection:
        assert await unstarted(connection, limit=9, age_s=-1) == []


async def test_a_recovery_survives_the_end_of_its_workflow_and_of_the_relay(
    shop: Shop, valkey_url: str, temporal_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disable, miss, enable, recover, with a kill in between (§2.4, 7 and 10)."""
    monkeypatch.setattr(handover, "SWEEP_EVERY_S", 0.2)
    monkeypatch.setattr(jobs, "PAGE_EVENTS", 20)
    monkeypatch.setattr(jobs, "BACKLOG_MAX", 30)
    client = await Client.connect(temporal_server)
    async with receiving() as receiver:
        endpoint = await shop.endpoint(receiver.url)
        await missed(shop, endpoint, "payment.captured", times=120)
        job = await job_for(shop, endpoint)
        async with relay_process(shop, valkey_url, temporal_server) as hand_over:
            await connected(hand_over)
            await WebhookDispatcher(client).start_job(job.id)
            await receiver.has(20)
            await client.get_workflow_handle(job.id).terminate("killed")
        await shop.execute("UPDATE webhook_jobs SET created_at = now() - interval '1 minute'")
        async with relay_process(shop, valkey_url, temporal_server):
            await receiver.has(120)

            async def finished() -> bool:
                async with shop.database.transaction() as connection:
                    found = await find_job(connection, job.id, merchant_id=shop.merchant.id, mode="test")
                return found is not None and (found.state, found.done) == ("finished", 120)

            await eventually(finished, timeout_s=60.0)

    assert len(set(receiver.ids)) == 120
    assert await take(shop, Lane.AGAIN) == []


async def test_ten_thousand_missed_events_are_recovered_a_backlog_at_a_time(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    payment_id = await shop.record()
    await shop.execute(
        "INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at)"
        " SELECT 'evt_' || number, :merchant_id, 'test', :payment_id, number, 'payment.captured', '{}',"
        "        now() - interval '10 minutes' + number * interval '1 ms'"
        "   FROM generate_series(1, 10000) AS number",
        merchant_id=shop.merchant.id,
        payment_id=payment_id,
    )
    job, most = await job_for(shop, endpoint), 0
    for _ in range(100):
        taken = await page(shop, job)
        if taken.ended:
            break
        if taken.obstacle:
            most = max(most, (await shop.statuses()).count("pending"))
            await shop.execute("UPDATE webhook_deliveries SET status = 'succeeded'")

    rows = await made(shop)
    assert (taken.state, taken.done, taken.total, len(rows)) == ("finished", 10_000, 10_000, 10_000)
    assert len({row["event_id"] for row in rows}) == 10_000
    assert most <= jobs.BACKLOG_MAX + jobs.PAGE_EVENTS


async def test_two_recoveries_at_once_deliver_each_event_once(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await missed(shop, endpoint, "payment.captured", times=20)
    one, two = await job_for(shop, endpoint), await job_for(shop, endpoint)
    async with shop.database.transaction() as connection:
        await PAGES.take_page(connection, one.id)
        other = asyncio.create_task(page(shop, two))
        await asyncio.wait({other}, timeout=0.5)  # it waits for us
    await other
    assert len(await made(shop)) == 20


async def test_what_an_outage_left_waiting_for_hours_is_recovered_now(shop: Shop) -> None:
    """What failed would be due in 20 h."""
    endpoint = await shop.endpoint(URL)
    for _ in range(3):
        await shop.record("payment.captured")
    await record(
        shop, *(ended(lease, "pending", delay_s=72_000.0) for lease in await take(shop)), hand_over=True
    )
    job = await job_for(shop, endpoint)
    done = await to_the_end(shop, job)
    assert (job.total, done.done) == (3, 3)
    rows = await shop.deliveries()
    soon = datetime.now(UTC) + timedelta(minutes=1)
    due = {row["event_id"] for row in rows if row["status"] == "pending" and row["next_attempt_at"] < soon}
    assert len(due) == 3
    assert {row["holder"] for row in rows} == {"relay"}


async def test_a_recovery_is_not_stopped_by_retries_that_are_due_in_hours(shop: Shop) -> None:
    endpoint = await shop.endpoint(URL)
    await shop.record("payment.captured")
    await shop.execute(
        "INSERT INTO webhook_deliveries (id, event_id, endpoint_id, attempts, next_attempt_at, created_at)"
        " SELECT 'dlv_' || n, (SELECT min(id) FROM events), :endpoint, '[{}]', now() + interval '20 h', now()"
        " FROM generate_series(1, :count) AS n",
        endpoint=endpoint.id,
        count=jobs.BACKLOG_MAX + 1,
    )
    await missed(shop, endpoint, "payment.captured", times=2)
    taken = await page(shop, await job_for(shop, endpoint))
    assert taken.done == 2, taken
