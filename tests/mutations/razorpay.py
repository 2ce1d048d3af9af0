"""Misreadings of Razorpay's documentation, planted in its connector, each with the tests that must notice.

`rule` is the misreading's number. They were written down by somebody who had read the connector, but none of its
tests, so they prove less than Stripe's: docs/acquirers/razorpay.md says so.
"""

from typing import Final

from tests.mutations.planting import planter

_AUTHORIZE: Final = "test_razorpay_authorize.py"
_CALLBACKS: Final = "test_razorpay_callbacks.py"
_CODES: Final = "test_razorpay_codes.py"
_FOUND: Final = "test_razorpay_found.py"
_MODIFY: Final = "test_razorpay_modify.py"
_SETTINGS: Final = "test_razorpay_settings.py"
planted = planter("razorpay")

PLANTS: Final = (
    planted(
        "1",
        "what is authorized counts as captured",
        "reading.py",
        'return _approved(found, call, Stage.AUTHORIZED)\n        case "captured"',
        'return _approved(found, call, Stage.CAPTURED)\n        case "captured"',
        _FOUND,
    ),
    planted(
        "2",
        "a manual authorization is captured where somebody captured it",
        "reading.py",
        "            return _captured_manually(found, call)\n",
        "            return _approved(found, call, Stage.CAPTURED)\n",
        _FOUND,
    ),
    planted(
        "3",
        "what failed is declined, whoever decided",
        "reading.py",
        "        return Expired(found.id)\n",
        "        return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)\n",
        _FOUND,
    ),
    planted(
        "4",
        "a failure in a UPI app is its last word",
        "reading.py",
        "if acting and not codes.before_any_bank(failure):",
        "if False:",
        _FOUND,
    ),
    planted(
        "5",
        "what is created and not paid has expired",
        "reading.py",
        'return Pending(found.id, reason="created")',
        "return Expired(found.id)",
        _FOUND,
    ),
    planted(
        "6",
        "what was refunded was captured",
        "reading.py",
        'case "captured" | "refunded" if found.captured:',
        'case "captured" | "refunded":',
        _FOUND,
    ),
    planted(
        "7",
        "the first payment of an order is the one",
        "finding.py",
        "return next(iter((*paid, *waiting, *ours)), None)",
        "return next(iter(ours), None)",
        _FOUND,
    ),
    planted(
        "8",
        "a list of payments is whole",
        "finding.py",
        "if page.count != len(page.items) or len(page.items) >= SHORT:",
        "if False:",
        _FOUND,
    ),
    planted(
        "9",
        "a refund that is pending is made",
        "reading.py",
        '            return Accepted(found.id)\n        case "failed" if',
        '            return approved\n        case "failed" if',
        _MODIFY,
    ),
    planted(
        "10",
        "a refund that failed after it was made was never made",
        "reading.py",
        'case "failed" if call.approved:',
        'case "failed" if False:',
        _MODIFY,
    ),
    planted(
        "11",
        "refunds have no key",
        "desk.py",
        'headers={"X-Refund-Idempotency": key}',
        "headers={}",
        _MODIFY,
    ),
    planted(
        "12",
        "the key is a header of the name that others use",
        "desk.py",
        '{"X-Refund-Idempotency": key}',
        '{"Idempotency-Key": key}',
        _MODIFY,
    ),
    planted(
        "13",
        "a capture that was turned down for what it is already is declined",
        "connector.py",
        '        return Pending(payment_id, "not captured") if isinstance(captured, NotKnown) else captured\n\n'
        "    async def _refund(",
        "        return _refused(call, error)\n\n    async def _refund(",
        _MODIFY,
    ),
    planted(
        "14",
        "a signature is 64 digits",
        "callbacks.py",
        "if not (_MAC.fullmatch(signature) and _is_signed(signature, body, secrets)):",
        "if not _MAC.fullmatch(signature):",
        _CALLBACKS,
    ),
    planted(
        "15",
        "what is signed is the JSON, however it is written",
        "callbacks.py",
        "hmac.new(secret.encode(), body, hashlib.sha256)",
        'hmac.new(secret.encode(), __import__("json").dumps(__import__("json").loads(body)).encode(),'
        " hashlib.sha256)",
        _CALLBACKS,
    ),
    planted(
        "16",
        "an event of another merchant is ours",
        "callbacks.py",
        "if identity is not None and event.account_id != identity:",
        "if False:",
        _CALLBACKS,
    ),
    planted(
        "17",
        "amounts of three decimals may end in any digit",
        "amounts.py",
        "dict.fromkeys(_THREE_DECIMALS, 10)",
        "{}",
        _SETTINGS,
        _AUTHORIZE,
    ),
    planted(
        "18",
        "an order is that which was asked for",
        "connector.py",
        "if not same or order.amount_paid:",
        "if order.amount_paid:",
        _AUTHORIZE,
    ),
    planted(
        "19",
        "orders are found by their whole receipt",
        "connector.py",
        "ours = [one for one in listed.items if one.receipt == call.payment_id]",
        "ours = list(listed.items)",
        _AUTHORIZE,
    ),
    planted(
        "20",
        "whatever is a bad request is refused for ever",
        "connector.py",
        "return error.code == _INVALID and ours and error.reason in codes.REFUSED",
        "return error.code == _INVALID",
        _AUTHORIZE,
        _MODIFY,
    ),
    planted(
        "21",
        "a release is made at once",
        "reading.py",
        '    if found.status == "authorized":\n        return Accepted(found.id)\n',
        '    if found.status == "authorized":\n        return Approved(found.id, found.amount, found.currency)\n',
        _MODIFY,
    ),
    planted(
        "22",
        "who paid our order without our reference is nobody's concern",
        "finding.py",
        "        _raise_for_strangers(listed, call)\n",
        "",
        _FOUND,
    ),
    planted(
        "23",
        "what was captured is what was asked for",
        "reading.py",
        "        _check_amount(found, call)\n",
        "",
        _MODIFY,
    ),
    planted(
        "24",
        "the account says when an order is captured",
        "forms.py",
        'capture="automatic" if automatic else "manual"',
        'capture="automatic"',
        _AUTHORIZE,
    ),
    planted(
        "25",
        "a receipt need not be unique",
        "forms.py",
        "unique_receipt: bool = True",
        "unique_receipt: bool = False",
        _AUTHORIZE,
    ),
    planted(
        "26",
        "a reason is a decline, whoever says it",
        "codes.py",
        "decided = failure.source in _ANSWERED_SOURCES and failure.step in _ANSWERED_STEPS",
        "decided = True",
        _CODES,
    ),
    planted(
        "27",
        "a refund of the dashboard is one of ours",
        "reading.py",
        "(one for one in refunds if one.reference is None)",
        "(one for one in refunds if False)",
        _FOUND,
    ),
    planted(
        "28",
        "a payment that cannot be found was not made",
        "finding.py",
        '            raise OutcomeUnknown("a payment that is not in its order any more")\n',
        "            return None\n",
        _FOUND,
    ),
    planted(
        "29",
        "a refund under another reference is ours",
        "finding.py",
        "if found.reference != call.reference or found.payment_id != call.authorization_reference:",
        "if found.payment_id != call.authorization_reference:",
        _MODIFY,
    ),
)
