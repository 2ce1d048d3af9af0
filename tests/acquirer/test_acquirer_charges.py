"""What `/charges` lists."""

from datetime import UTC, datetime, timedelta

from acquirer_process import Acquirer, answered
from razorpay_side import RazorpaySide
from stripe_side import StripeSide


async def test_what_was_charged_in_another_acquirers_protocol_is_not_among_ours(
    acquirer: Acquirer, stripe: StripeSide, razorpay: RazorpaySide
) -> None:
    """It has a list there, and nobody who reads ours knows its references."""
    ours = await acquirer.authorize()
    await stripe.captured()
    await razorpay.paid()
    now = datetime.now(UTC)
    since, until = now - timedelta(hours=1), now + timedelta(hours=1)
    query = {"since": since.isoformat(), "until": until.isoformat()}
    listed = answered(await acquirer.client.get("/charges", params=query))
    assert [charge["id"] for charge in listed["charges"]] == [ours["id"]]
    moved = [entry["operation"] for entry in await acquirer.ledger()]
    assert moved.count("authorize") == 3
