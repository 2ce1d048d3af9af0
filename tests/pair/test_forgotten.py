"""A fail-over, or a restore, forgets what was answered clean: nobody can tell before, and money still moves once."""

from collections.abc import Sequence

import pytest

from devstack.stack import DevStack
from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, REFUND
from tests.faults.shop import Json, Shop
from tests.pair.scenes import AMOUNT, PART, done_once, stopped
from tests.support.asking import is_definite
from tests.support.pair import Pair
from tests.support.witness import Witness

SWEPT_WITHIN_S = 240.0  # pending although its workflow is completed: seen twice, 60 s apart


@pytest.mark.timeout(2 * SWEPT_WITHIN_S)
async def test_an_outcome_that_was_given_and_forgotten_is_found_again_under_other_events(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness
) -> None:
    """Postgres says pending, Temporal says completed: the workflow runs again, and inquires."""
    async with stopped(city, shop, "after_send", AUTOMATIC, PART, REFUND) as (doomed, asked, answers):
        await pair.deceive()
        doomed.service.resume()
        for answer in await answers:
            assert answer is not None
            assert is_definite(answer), answer.text
        told = [await shop.events(one.payment_id) for one in asked]
        await pair.fail_over()
        await done_once(shop, ledger, asked, within_s=SWEPT_WITHIN_S)
    for one, before in zip(asked, told, strict=True):
        forgotten = ids(before[len(one.deed.before) :])  # so many came of what was done before
        after = await shop.events(one.payment_id)
        assert after[-1]["type"] == before[-1]["type"]
        assert forgotten
        assert not forgotten & ids(after), "a merchant would drop the true one as known"


async def test_a_create_that_a_fail_over_forgets_altogether_is_found_at_the_acquirer(
    pair: Pair, shop: Shop, ledger: Witness
) -> None:
    await pair.deceive()
    key = shop.key("forgotten")
    payment_id = await shop.created(key=key, amount=AMOUNT)
    await pair.fail_over()
    assert await shop.created(key=key, amount=AMOUNT) == payment_id
    books = await at_rest(shop, ledger, payment_id)
    assert [entry["amount"] for entry in books.ledger] == [AMOUNT, AMOUNT], "one authorization, one capture"


def ids(events: Sequence[Json]) -> set[str]:
    return {event["id"] for event in events}
