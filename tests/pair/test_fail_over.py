"""A fail-over forgets a COMMIT that waited for its standby in vain: by the acquirer's ledger, money moved once.

Each way in which such a wait ends with the transaction committed on the primary only, at each COMMIT on which the
movement of money rests: the admission of a create, the claim of a capture or refund, the recording of all three.
"""

from collections.abc import Awaitable, Callable

import pytest

from devstack.stack import DevStack
from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, REFUND
from tests.faults.shop import Shop, new_payment
from tests.pair.scenes import AMOUNT, PART, done_once, stopped, under_way
from tests.support.pair import Pair
from tests.support.witness import Witness

SEEN_AFTER_S = 1.5  # a COMMIT that waits longer than 1 s has closed the gate

Ending = Callable[[Pair], Awaitable[object]]


async def emptied(pair: Pair) -> None:
    """As a manager does it that is not strict, once a COMMIT has waited for longer than its process waits."""
    await pair.waits_with("attempts", for_s=SEEN_AFTER_S)
    await pair.empty_names()


ENDINGS: dict[str, Ending] = {
    "cancelled": Pair.cancel_commit_waits,
    "terminated": Pair.terminate_commit_waits,
    "emptied": emptied,
    "restarted": Pair.restart_primary,
}
BY_ENDING = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS.keys())


@BY_ENDING
async def test_a_create_whose_admission_a_fail_over_forgets_is_charged_once(
    pair: Pair, shop: Shop, ledger: Witness, end: Ending
) -> None:
    key = shop.key("admission")
    pair.silence_standby()
    async with under_way(shop.create(key, amount=AMOUNT)):
        await pair.waits_with("idempotency_keys")
        await end(pair)
    await pair.fail_over()
    response = await shop.answered("/v1/payments", new_payment(amount=AMOUNT), key=key)
    assert response.status_code == 201, response.text
    books = await at_rest(shop, ledger, shop.payment_id(key))
    assert [entry["amount"] for entry in books.ledger] == [AMOUNT, AMOUNT], "one authorization, one capture"


@BY_ENDING
async def test_a_claim_that_a_fail_over_forgets_is_sent_once(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness, end: Ending
) -> None:
    async with stopped(city, shop, "before_claim", PART, REFUND) as (doomed, asked, _):
        pair.silence_standby()
        doomed.service.resume()
        await pair.waits_with("attempts", len(asked))
        await end(pair)
        await pair.fail_over()
        await done_once(shop, ledger, asked)


@BY_ENDING
async def test_an_outcome_that_a_fail_over_forgets_is_found_and_nothing_is_sent_again(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness, end: Ending
) -> None:
    async with stopped(city, shop, "after_send", AUTOMATIC, PART, REFUND) as (doomed, asked, _):
        pair.silence_standby()
        doomed.service.resume()
        await pair.waits_with("attempts", len(asked))
        await end(pair)
        await pair.fail_over()
        await done_once(shop, ledger, asked)
