"""The walks: one for each thing that the sandbox plays, and one for each kind of decision."""

from tests.e2e.merchant import Body, answered
from tests.e2e.walks.scene import Scene, Walk

REFUNDS_BOUNCE = "4000000000005126"  # of Stripe's test cards: a refund succeeds, and fails later


async def authorized_only(scene: Scene) -> Body:
    """An automatic payment is only authorized: payonce captures it, and says captured once it is."""
    payment = await scene.pays("authorized_only")
    return await scene.becomes(payment, status="captured", pending_operation=None)


async def refuse(scene: Scene) -> Body:
    """The acquirer refuses a member for ever: a recorded failure, never tried again."""
    payment = await scene.pays("refuse:/payment_method/card/number")
    return await scene.becomes(payment, status="failed")


async def undo_capture(scene: Scene) -> Body:
    """A captured payment is taken back: neither refundable nor capturable until that is settled."""
    payment = await scene.pays("undo_capture:1")
    payment = await scene.told(payment, "payment.capture_failed")
    assert await scene.tries("refund", payment) == "payment_not_refundable"
    assert await scene.tries("capture", payment) == "payment_not_capturable"
    return payment


async def redo_capture(scene: Scene) -> Body:
    """… and captured again, and taken back again."""
    payment = await scene.pays("undo_capture:1,redo_capture:1,undo_capture:1,redo_capture:1")
    await scene.told(payment, "payment.capture_failed", times=2)
    return await scene.becomes(payment, status="captured", review=None, amount_captured=1000)


async def undo_refund(scene: Scene) -> Body:
    """A refund bounces: it was succeeded and is failed."""
    payment = await scene.pays()
    refund = await scene.refunds(payment, 400, sandbox_fault="undo_refund:1")
    payment = await scene.told(payment, "refund.failed")
    now = answered(await scene.shop.get(f"/v1/refunds/{refund['id']}"), 200)
    scene.say(f"refund: {now['status']}, {now['last_error']['code']}")
    return payment


async def foreign_refund(scene: Scene) -> Body:
    """Somebody refunds in the acquirer's dashboard; what is left is what our limits allow."""
    payment = await scene.pays("foreign_refund:400")
    payment = await scene.becomes(payment, status="partially_refunded", amount_refundable=600)
    await scene.refunds(payment, 600)
    return await scene.becomes(payment, status="refunded")


async def foreign_refund_of_too_much(scene: Scene) -> Body:
    """… more than there was: a person is called."""
    payment = await scene.pays("foreign_refund:1700")
    return await scene.told(payment, "payment.needs_review")


async def foreign_capture(scene: Scene) -> Body:
    """Somebody captures in the acquirer's dashboard."""
    payment = await scene.pays("foreign_capture", capture_method="manual")
    return await scene.becomes(payment, status="captured", amount_captured=1000)


async def challenge_cancelled(scene: Scene) -> Body:
    """A customer is asked, the merchant gives up: voided once the acquirer has cancelled."""
    payment = await _asked(scene)
    response = await scene.shop.void(payment)
    scene.say(f"POST …/void -> {response.status_code}")
    return await scene.becomes(payment, status="voided", next_action=None)


async def challenge_ends_itself(scene: Scene) -> Body:
    """… at an acquirer that cannot cancel: the void waits; the customer pays; the money goes back."""
    payment = await _asked(scene)
    await scene.witness.configure(challenge_ends="itself")
    try:
        response = await scene.shop.void(payment)
        scene.say(f"POST …/void -> {response.status_code}, pending: {response.json()['pending_operation']}")
        assert response.status_code == 202
        page = payment["next_action"]["sandbox_url"]
        paid = await scene.witness.client.post(page, data={"decision": "approve"})
        scene.say(f"the customer pays -> {paid.status_code}")
        return await scene.becomes(payment, status="refunded", pending_operation=None)
    finally:
        await scene.witness.configure(challenge_ends="cancelled")


async def stripe(scene: Scene) -> Body:
    """A card at Stripe: authorized, captured in part, refunded; the refund bounces at the bank later."""
    card = {"number": REFUNDS_BOUNCE, "exp_month": 12, "exp_year": 2030, "cvc": "737"}
    payment = await scene.pays(
        capture_method="manual",
        payment_method={"type": "card", "card": card},
        metadata={"sandbox_account": "stripe"},
    )
    assert payment["status"] == "authorized"
    captured = await scene.shop.captured(payment, amount=600)
    scene.say(f"POST …/capture 600 -> {captured['status']}")
    refund = await scene.refunds(payment, 400)
    payment = await scene.told(payment, "refund.failed")
    now = answered(await scene.shop.get(f"/v1/refunds/{refund['id']}"), 200)
    scene.say(f"refund: {refund['status']}, then {now['status']}")
    return payment


async def stripe_in_doubt(scene: Scene) -> Body:
    """Stripe charges and does not answer: the intent is asked, and the payment is captured once."""
    payment = await scene.pays("timeout_after_charge", metadata={"sandbox_account": "stripe"})
    payment = await scene.becomes(payment, status="captured")
    assert [entry["operation"] for entry in await scene.witness.ledger(payment_reference=payment["id"])] == [
        "authorize",
        "capture",
    ]
    return payment


async def decide_undone(scene: Scene) -> Body:
    """A refund bounced for good: its amount may be refunded again."""
    payment = await undo_refund(scene)
    await scene.decides(payment, "undone", "the bank returned it for good")
    payment = await scene.becomes(payment, review=None, amount_refundable=1000)
    await scene.refunds(payment, 1000)
    return await scene.becomes(payment, status="refunded")


async def decide_paid(scene: Scene) -> Body:
    """A refund that bounced reached the customer after all: failed becomes succeeded."""
    payment = await undo_refund(scene)
    await scene.decides(payment, "paid", "paid out by bank transfer 4711")
    return await scene.becomes(payment, review=None, amount_refunded=400)


async def decide_capture_undone(scene: Scene) -> Body:
    """A capture that was taken back stays so: nothing can be captured any more."""
    payment = await undo_capture(scene)
    await scene.decides(payment, "undone", "rejected for good, settlement report of today")
    return await scene.becomes(payment, review=None, amount_captured=0)


async def decide_capture_approved(scene: Scene) -> Body:
    """A capture that was taken back holds after all."""
    payment = await undo_capture(scene)
    await scene.decides(payment, "approved", "in the settlement report of today")
    return await scene.becomes(payment, review=None, status="captured", amount_captured=1000)


async def decide_orphan(scene: Scene) -> Body:
    """A refund in the dashboard that belongs to another payment."""
    payment = await foreign_refund_of_too_much(scene)
    await scene.decides(payment, "orphan", "booked on the wrong payment there")
    return await scene.becomes(payment, review=None, status="captured", amount_refunded=0)


async def decide_foreign(scene: Scene) -> Body:
    """A refund in the dashboard of more than there was, which happened all the same."""
    payment = await foreign_refund_of_too_much(scene)
    await scene.decides(payment, "approved", "a gesture of support")
    return await scene.becomes(payment, review=None, status="refunded", amount_refunded=1000)


async def _asked(scene: Scene) -> Body:
    method = {"type": "wallet", "wallet": {"provider": "paytm"}}
    payment = await scene.pays(payment_method=method)
    assert payment["status"] == "requires_action", payment
    return payment


WALKS: dict[str, Walk] = {
    walk.__name__: walk
    for walk in (
        *(authorized_only, refuse, undo_capture, redo_capture, undo_refund),
        *(foreign_refund, foreign_refund_of_too_much, foreign_capture),
        *(challenge_cancelled, challenge_ends_itself),
        *(decide_undone, decide_paid, decide_capture_undone, decide_capture_approved),
        *(decide_orphan, decide_foreign, stripe, stripe_in_doubt),
    )
}
