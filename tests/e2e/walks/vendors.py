"""The walks through Razorpay and Adyen, as the sandbox plays them: what each does in its own way."""

from typing import Any

import httpx

from tests.e2e.merchant import EVERY_MEMBER, Body, card
from tests.e2e.walks.scene import Scene, Walk

AT_RAZORPAY, AT_ADYEN = "4100280000001007", "4212345678910006"  # whose holder is asked
TIMED_OUT = "timeout_after_charge"
PAID = ["authorize", "capture"]
_BROWSER = {
    **{"ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "accept": "text/html", "language": "en-GB"},
    **{"color_depth": 24, "screen_width": 1080, "screen_height": 2400, "time_zone_offset": -330},
    **{"java_enabled": False, "javascript_enabled": True},
}
_WHO: Body = {
    **EVERY_MEMBER,
    "customer": {"name": "Asha Rao", "email": "asha@example.com", "phone": "+919000090000"},
    "browser": _BROWSER,
    "return_url": "https://shop.example/back",
}
_QR: Body = {"type": "upi", "upi": {"flow": "qr"}}


async def razorpay(scene: Scene) -> Body:
    """A card at Razorpay: its holder is asked and comes back by a form; captured whole, refunded in part."""
    payment = await _pays(scene, "razorpay", payment_method=card(AT_RAZORPAY), capture_method="manual")
    await _does(scene, payment, "success")
    await scene.becomes(payment, status="authorized")
    return await _captured_and_refunded(scene, payment)


async def razorpay_upi(scene: Scene) -> Body:
    """A UPI code at Razorpay: paid in the customer's app, refunded in part."""
    payment = await _pays(scene, "razorpay", payment_method=_QR)
    await scene.becomes(payment, status="captured")
    return await _refunded(scene, payment)


async def razorpay_in_doubt(scene: Scene) -> Body:
    """Razorpay does each thing and does not answer: the order is asked, and each was done once."""
    wished = {"sandbox_fault": f"{TIMED_OUT},capture:{TIMED_OUT}"}
    payment = await _pays(scene, "razorpay", payment_method=_QR, capture_method="manual", metadata=wished)
    await scene.becomes(payment, status="authorized")
    return await _captured_and_refunded(scene, payment, sandbox_fault=f"refund:{TIMED_OUT}")


async def razorpay_late(scene: Scene) -> Body:
    """A payment at Razorpay fails, and is authorized three days later: nobody captures it, and it goes back."""
    silent = {"sandbox_bank": "silent"}
    method = card(AT_RAZORPAY)
    payment = await _pays(scene, "razorpay", payment_method=method, capture_method="manual", metadata=silent)
    own_id = f"pay_{payment['next_action']['url'].split('/')[-2]}"
    await _bank_says(scene, own_id, "times_out")
    await scene.becomes(payment, status="failed")
    scene.say("three days are skipped")
    await _bank_says(scene, own_id, "approves")
    await scene.told(payment, "payment.late_success")
    await _bank_says(scene, own_id, "lapses")
    await _moved(scene, payment, "authorize", "void")
    return await scene.becomes(payment, status="failed")


async def adyen(scene: Scene) -> Body:
    """A card at Adyen: authorized; the capture and the refund are received, and done when a webhook says so."""
    payment = await _pays(scene, "adyen", capture_method="manual")
    assert payment["status"] == "authorized", payment
    return await _captured_and_refunded(scene, payment)


async def adyen_void(scene: Scene) -> Body:
    """… or voided: received, and done when a webhook says so."""
    payment = await _pays(scene, "adyen", capture_method="manual")
    response = await scene.shop.void(payment)
    scene.say(f"POST …/void -> {response.status_code}")
    return await scene.becomes(payment, status="voided", pending_operation=None)


async def adyen_challenge(scene: Scene) -> Body:
    """A cardholder at Adyen is asked: what their browser brings back, sent in a second leg, authorizes."""
    payment = await _pays(scene, "adyen", payment_method=card(AT_ADYEN))
    await _does(scene, payment, "complete")
    await scene.becomes(payment, status="captured")
    return await _refunded(scene, payment)


async def adyen_upi(scene: Scene) -> Body:
    """A UPI code at Adyen: the customer approves in the app, the webhook says so; refunded in part."""
    payment = await _pays(scene, "adyen", payment_method=_QR)
    page = f"/adyen/pages/{scene.named(payment)}"
    paid = await scene.witness.client.post(page, data={"decision": "approve"})
    scene.say(f"the customer approves -> {paid.status_code}")
    await scene.becomes(payment, status="captured")
    return await _refunded(scene, payment)


async def adyen_in_doubt(scene: Scene) -> Body:
    """Adyen does each thing, and the answer, `received` too, is lost: key or webhook tell; done once."""
    wished = {"sandbox_fault": TIMED_OUT}
    wished |= {"sandbox_fault2": f"capture:{TIMED_OUT}", "sandbox_fault3": f"refund:{TIMED_OUT}"}
    payment = await _pays(scene, "adyen", capture_method="manual", metadata=wished)
    await scene.becomes(payment, status="authorized", pending_operation=None)
    return await _captured_and_refunded(scene, payment)


async def adyen_leg_in_doubt(scene: Scene) -> Body:
    """The answer to the second leg is lost: the same leg under its key, or a webhook, tells; paid once."""
    wished = {"sandbox_fault": f"resume:{TIMED_OUT}"}
    payment = await _pays(scene, "adyen", payment_method=card(AT_ADYEN), metadata=wished)
    await _does(scene, payment, "complete")
    payment = await scene.becomes(payment, status="captured")
    await _moved(scene, payment, *PAID)
    return payment


async def adyen_captured_again(scene: Scene) -> Body:
    """CAPTURE, CAPTURE_FAILED, and CAPTURE again: taken back, held for a person, and done after all."""
    wished = {"sandbox_fault": "undo_capture:1,redo_capture:1"}
    payment = await _pays(scene, "adyen", capture_method="manual", metadata=wished)
    response = await scene.shop.capture(payment)
    scene.say(f"POST …/capture -> {response.status_code}")
    await scene.told(payment, "payment.capture_failed")
    await scene.told(payment, "payment.captured", times=2)
    await _moved(scene, payment, "authorize", "capture", "undo", "capture")
    return await scene.becomes(payment, status="captured", review=None, amount_captured=1000)


async def _pays(scene: Scene, vendor: str, **changes: Any) -> Body:
    metadata = {"sandbox_account": vendor, **changes.pop("metadata", {})}
    payment = await scene.pays(**{**_WHO, **changes}, metadata=metadata)
    assert payment["connector"] == vendor, payment
    if payment["next_action"] is not None:
        scene.say(f"next_action: {payment['next_action']['type']}")
    return payment


async def _does(scene: Scene, payment: Body, decision: str) -> None:
    """What the cardholder does at their bank's page, which sends their browser to ours, and ours to the shop."""
    page = payment["next_action"]["url"]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:
        headers = {"Accept": "application/json"}
        decided = await browser.post(page, data={"decision": decision}, headers=headers)
        if decided.status_code == httpx.codes.SEE_OTHER:
            back = await browser.get(decided.headers["Location"])
        else:
            told = decided.json()
            back = await browser.post(told["callback_url"], data=told["fields"])
    scene.say(f"the cardholder: {decision} -> {back.status_code} {back.headers['Location'].split('?')[0]}")


async def _bank_says(scene: Scene, own_id: str, what: str) -> None:
    headers = {"Authorization": f"Bearer {scene.environ['PAYONCE_SANDBOX_ACQUIRER_KEY']}"}
    path = f"/razorpay/payments/{own_id}"
    said = await scene.witness.client.post(path, json={"bank": what}, headers=headers)
    scene.say(f"the bank {what.replace('_', ' ')} -> {said.status_code}")


async def _captured_and_refunded(scene: Scene, payment: Body, **metadata: str) -> Body:
    response = await scene.shop.capture(payment)
    scene.say(f"POST …/capture -> {response.status_code}")
    await scene.becomes(payment, status="captured", pending_operation=None)
    return await _refunded(scene, payment, **metadata)


async def _refunded(scene: Scene, payment: Body, **metadata: str) -> Body:
    await scene.refunds(payment, 400, **metadata)
    payment = await scene.becomes(payment, status="partially_refunded", amount_refunded=400)
    await _moved(scene, payment, *PAID, "refund")
    return payment


async def _moved(scene: Scene, payment: Body, *operations: str) -> None:
    """The acquirer's own ledger has these, once each."""
    found = [entry["operation"] for entry in await scene.ledger(payment)]
    assert found == list(operations), found


WALKS: dict[str, Walk] = {
    walk.__name__: walk
    for walk in (
        *(razorpay, razorpay_upi, razorpay_in_doubt, razorpay_late),
        *(adyen, adyen_void, adyen_challenge, adyen_upi),
        *(adyen_in_doubt, adyen_leg_in_doubt, adyen_captured_again),
    )
}
