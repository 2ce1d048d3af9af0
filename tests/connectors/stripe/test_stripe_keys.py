"""A request at Stripe that is repeated is the same one; no other has its key, and no money call is made twice."""

from dataclasses import replace

import pytest
from stripe_script import CONFIRM, CREATE, Open, account, authorizing, call, error, paid

from payonce.connectors.conformance import yes
from payonce.connectors.stripe.desk import StripeDesk
from payonce.domain.errors import OutcomeUnknown
from tests.connectors.scripted import Answer


async def test_the_order_of_the_merchants_metadata_changes_nothing(stripe: Open) -> None:
    """Postgres keeps them in an order of its own, and Stripe refuses a key with another body."""
    connector, server = await stripe(authorizing(Answer(paid())), copy_metadata="on")
    theirs = {f"member_{number:02}": "x" for number in range(45)}
    for metadata in (theirs, dict(reversed(theirs.items()))):
        await connector.send(call(metadata=metadata), may_send=yes)
    first, again = server.of(CREATE)
    assert first.form == again.form


async def test_the_same_reference_has_another_key_at_another_account() -> None:
    ours = account("http://127.0.0.1:1")
    desks = [
        StripeDesk(each, call_deadline_s=1)
        for each in (ours, replace(ours, identity="acct_2"), replace(ours))
    ]
    keys = [
        desk.post("/v1/refunds", {}, reference="op_1-1", purpose="send").headers["Idempotency-Key"]
        for desk in desks
    ]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]
    for desk in desks:
        await desk.http.close()


async def test_what_failed_at_stripe_is_not_confirmed_again(stripe: Open) -> None:
    """The first may have had effects, and with another key the second would have them too."""
    connector, server = await stripe(authorizing([Answer(error("api_error"), status=500), Answer(paid())]))
    with pytest.raises(OutcomeUnknown):
        await connector.send(call(), may_send=yes)
    assert len(server.of(CONFIRM)) == 1


async def test_what_marks_our_captures_comes_from_no_merchant(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())), copy_metadata="on")
    await connector.send(call(metadata={"payonce_capture_0": "1099", "order": "17"}), may_send=yes)
    members = server.of(CREATE)[0].members
    assert members["metadata[order]"] == "17"
    assert not any("payonce_capture" in name for name in members)
