"""Misreadings about what comes later, and of the reserve, that were planted second; see the package."""

from typing import Final

from tests.mutations.stripe.planting import planted

_CONNECTOR: Final = "connector.py"
_READING: Final = "reading.py"
_DESK: Final = "desk.py"
_FINDING: Final = "finding.py"
_FORMS: Final = "forms.py"
_CALLBACKS: Final = "callbacks.py"
_AUTHORIZE: Final = "test_stripe_authorize.py"
_FOUND: Final = "test_stripe_found.py"
_REVERSED: Final = "test_stripe_reversed.py"
_OF_KEYS: Final = "test_stripe_keys.py"
_MODIFY: Final = "test_stripe_modify.py"
_OF_CALLBACKS: Final = "test_stripe_callbacks.py"

REST_OF_LATER: Final = (
    planted(
        "17b",
        "a list comes as long as it comes",
        _DESK,
        '"limit": PAGE, ',
        "",
        _FOUND,
    ),
    planted(
        "18e",
        "what is being processed is cancelled, and that is counted on",
        _CONNECTOR,
        '        if intent.status == "canceled" and not intent.amount_received:\n',
        '        if intent.status in ("canceled", "processing") and not intent.amount_received:\n',
        _REVERSED,
    ),
    planted(
        "18f",
        "what is open is refunded first and cancelled after",
        _CONNECTOR,
        '        if intent.status not in ("canceled", "succeeded"):\n            intent = await',
        '        if intent.status not in ("canceled", "succeeded"):\n'
        "            await self._give_back(call, intent)\n            intent = await",
        _REVERSED,
    ),
    planted(
        "18g",
        "what is undone is the payment's intent and not the attempt's",
        _FINDING,
        "        id_ = call.attempt_reference or call.authorization_reference\n",
        "        id_ = call.authorization_reference or call.attempt_reference\n",
        _REVERSED,
    ),
    planted(
        "19d",
        "an intent that was cancelled in the very confirmation is paid",
        _CONNECTOR,
        '        return Pending(intent_id, reason="reversed")\n    return Pending(',
        '        return Approved(intent_id, 1099, "EUR")\n    return Pending(',
        _FOUND,
    ),
    planted(
        "19e",
        "what a cancelled intent took is not given back",
        _CONNECTOR,
        '        if intent.status == "canceled" and not intent.amount_received:\n',
        '        if intent.status == "canceled":\n',
        _REVERSED,
    ),
    planted(
        "19e",
        "what a cancelled intent took is not looked at by an inquiry",
        _CONNECTOR,
        "        asks = isinstance(fact, Reversed) or (isinstance(fact, Approved) and given_back)\n",
        "        asks = isinstance(fact, Approved) and given_back\n",
        _REVERSED,
    ),
    planted(
        "20d",
        "the last of several captures took everything",
        _READING,
        "            return _captured(intent, call, marked)\n",
        "            whole = intent.amount_received\n"
        '            return _captured(intent, call, whole if intent.status == "succeeded" else marked)\n',
        _MODIFY,
    ),
    planted(
        "21f",
        "a refund that waits for the balance failed",
        _READING,
        '        case "pending" | "requires_action":\n',
        '        case "pending":\n'
        "            return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)\n"
        '        case "requires_action":\n',
        _MODIFY,
    ),
    planted(
        "22e",
        "the end of a hold is in milliseconds",
        _READING,
        "datetime.fromtimestamp(charge.card.capture_before, UTC)",
        "datetime.fromtimestamp(charge.card.capture_before / 1000, UTC)",
        _AUTHORIZE,
    ),
    planted(
        "22f",
        "a hold is counted from the intent's creation",
        _READING,
        "    return datetime.fromtimestamp(charge.created, UTC) + holds\n",
        "    return datetime.fromtimestamp(intent.created, UTC) + holds\n",
        _FOUND,
    ),
    planted(
        "23h",
        "a signature is compared as any text is",
        _CALLBACKS,
        "hmac.compare_digest(expected, mac)",
        "expected == mac",
        _OF_CALLBACKS,
    ),
    planted(
        "24f",
        "an event of a refund that failed is not read",
        _CALLBACKS,
        "    if event.livemode is not live or another:\n",
        '    if event.livemode is not live or another or event.type == "refund.failed":\n',
        _OF_CALLBACKS,
    ),
    planted(
        "R1",
        "when it is captured is left to Stripe",
        _FORMS,
        '        "capture_method": "automatic" if call.automatic_capture else "manual",\n',
        "",
        _AUTHORIZE,
    ),
    planted(
        "R3",
        "a customer is sent to an address that is none",
        _READING,
        "page is None or (live and not page",
        "(live and page and not page",
        _AUTHORIZE,
    ),
    planted(
        "R3",
        "who must authenticate is declined",
        _CONNECTOR,
        "        return await self._leave_unauthenticated(call, intent.id) if asked is None else asked\n",
        "        return await self._leave_unauthenticated(call, intent.id)\n",
        "test_stripe_challenge.py",
    ),
    planted(
        "R5",
        "a card's payment has a whole statement descriptor",
        _FORMS,
        '        "statement_descriptor_suffix": call.statement_descriptor,\n',
        '        "statement_descriptor": call.statement_descriptor,\n',
        _AUTHORIZE,
    ),
    planted(
        "R6",
        "a reversal calls the customer a fraud",
        _FORMS,
        '        "payment_intent": intent_id,\n',
        '        "payment_intent": intent_id,\n        "reason": "fraudulent",\n',
        _REVERSED,
    ),
    planted(
        "R7",
        "how it is paid is left to Stripe",
        _FORMS,
        '        "payment_method_types": ["card"],\n',
        '        "automatic_payment_methods": {"enabled": True},\n',
        _AUTHORIZE,
    ),
    planted(
        "R8",
        "there is no largest amount",
        "amounts.py",
        "_DIGITS_MAX: Final = 8 ",
        "_DIGITS_MAX: Final = 14 ",
        "test_stripe_amounts.py",
    ),
    planted(
        "R9",
        "the merchant's metadata come over ours",
        _FORMS,
        '        and not name.startswith("payonce_")\n',
        "",
        _OF_KEYS,
    ),
    planted(
        "R9",
        "values of metadata have no limit",
        _FORMS,
        "        and len(value) <= VALUE_LENGTH_MAX\n",
        "",
        _AUTHORIZE,
    ),
    planted(
        "R10",
        "a network's id that there is not is evidence",
        _READING,
        "    known = card.network_transaction_id is not None\n",
        "    known = True\n",
        _AUTHORIZE,
    ),
)
