"""Misreadings about inquiries, reversals, captures, refunds and callbacks; see the package."""

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
_MODIFY: Final = "test_stripe_modify.py"
_OF_CALLBACKS: Final = "test_stripe_callbacks.py"

LATER: Final = (
    planted(
        "17a",
        "the first page is the whole list",
        _DESK,
        "            if not page.has_more:\n                return\n",
        "            return\n",
        _FOUND,
    ),
    planted(
        "17c",
        "the next page begins after the first of the last",
        _DESK,
        "            after = page.data[-1].id\n",
        "            after = page.data[0].id\n",
        _FOUND,
    ),
    planted(
        "17d",
        "intents are searched and not listed",
        _FINDING,
        "self._desk.pages(forms.INTENTS, IntentList",
        'self._desk.pages(f"{forms.INTENTS}/search", IntentList',
        _FOUND,
    ),
    planted(
        "17e",
        "the list begins at the very second of the claim",
        _FINDING,
        "(claimed_at - MADE_WITHIN)",
        "claimed_at",
        _FOUND,
    ),
    planted(
        "17f",
        "a refund of the same amount is ours",
        _FINDING,
        "        for one in ours:\n            reading.check_refund(one, call)\n"
        "        return ours[0] if ours else None\n",
        "        same = reading.to_stripe(call.amount_minor, call.currency)\n"
        "        ours = [one for one in await self.refunds(call, intent_id) if one.amount == same]\n"
        "        return ours[0] if ours else None\n",
        _MODIFY,
    ),
    planted(
        "17h",
        "of two with our reference the first counts",
        _FINDING,
        "(tried or ours)[0].id",
        "ours[0].id",
        _FOUND,
    ),
    planted(
        "18a",
        "what has succeeded is not given back",
        _CONNECTOR,
        "            return await self._give_back(call, intent)\n",
        "            return Reversed()\n",
        _REVERSED,
    ),
    planted(
        "18b",
        "what is held is refunded and not cancelled",
        _CONNECTOR,
        '        if intent.status not in ("canceled", "succeeded"):\n            intent = await',
        '        if intent.status not in ("canceled", "succeeded", "requires_capture"):\n'
        "            intent = await",
        _REVERSED,
    ),
    planted(
        "18c",
        "a cancellation that is answered 200 has undone, whatever the status",
        _CONNECTOR,
        '        if intent.status == "canceled" and not intent.amount_received:\n',
        '        if intent.status != "succeeded" and not intent.amount_received:\n',
        _REVERSED,
    ),
    planted(
        "18d",
        "a reversal refunds all, whatever was refunded before",
        _CONNECTOR,
        "        rest = intent.amount_received - sum(one.amount for one in refunds if one.status in _GIVING_BACK)\n",
        "            rest = intent.amount_received\n",
        _REVERSED,
    ),
    planted(
        "19a",
        "whoever cancelled, it was our void",
        _READING,
        '    if intent.status == "canceled" and not by_others:\n',
        '    if intent.status == "canceled":\n',
        _MODIFY,
    ),
    planted(
        "19b",
        "a hold that lapsed was declined",
        _READING,
        "        if intent.cancellation_reason in forms.BY_US:\n",
        "        if intent.cancellation_reason not in forms.BY_US:\n"
        "            return declined(StripeError(), intent_id=intent.id)\n"
        "        if intent.cancellation_reason in forms.BY_US:\n",
        _FOUND,
    ),
    planted(
        "19c",
        "a hold that lapsed is not told",
        _READING,
        "        if intent.cancellation_reason in forms.BY_US:\n",
        "        if True:\n",
        _FOUND,
    ),
    planted(
        "20a",
        "a capture that is not the last says nothing",
        _FORMS,
        '        "final_capture": call.final if several_captures else None,\n',
        '        "final_capture": True if several_captures and call.final else None,\n',
        _MODIFY,
    ),
    planted(
        "20b",
        "yes and no as Python writes them",
        _FORMS,
        '        "final_capture": call.final if several_captures else None,\n',
        '        "final_capture": str(call.final) if several_captures else None,\n',
        _MODIFY,
    ),
    planted(
        "20c",
        "a capture after which more may be captured is none",
        _READING,
        "        if marked is not None and marked <= intent.amount_received:\n",
        '        if marked is not None and intent.status == "succeeded":\n',
        _MODIFY,
    ),
    planted(
        "20e",
        "a capture names no amount",
        _FORMS,
        '        "amount_to_capture": amount,\n',
        "",
        _MODIFY,
    ),
    planted(
        "20f",
        "several captures whatever the account has",
        _CONNECTOR,
        "            split_capture=self._several,\n",
        "            split_capture=True,\n",
        "test_stripe_account.py",
    ),
    planted(
        "21a",
        "a refund that was accepted is done",
        _READING,
        '        case "succeeded":\n            return approved\n',
        '        case "succeeded" | "pending":\n            return approved\n',
        _MODIFY,
    ),
    planted(
        "21b",
        "a refund that waits for the customer failed",
        _READING,
        '        case "pending" | "requires_action":\n',
        '        case "requires_action":\n'
        "            return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)\n"
        '        case "pending":\n',
        _MODIFY,
    ),
    planted(
        "21c",
        "a refund that failed in a 200 is done",
        _READING,
        "            return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)\n"
        "        case status:",
        "            return approved\n        case status:",
        _MODIFY,
    ),
    planted(
        "21d",
        "a refund that fails after it succeeded stays done",
        _READING,
        "            return _with_turns(approved, (undone,))\n",
        "            return approved\n",
        _MODIFY,
    ),
    planted(
        "21e",
        "a refund that was cancelled after it succeeded stays done",
        _READING,
        '        case "failed" | "canceled" if call.approved:\n',
        '        case "canceled" if call.approved:\n'
        "            return approved\n"
        '        case "failed" if call.approved:\n',
        _MODIFY,
    ),
    planted(
        "22a",
        "every hold lasts seven days",
        _READING,
        "    if charge.card.capture_before is not None:\n",
        "    if False:\n",
        _AUTHORIZE,
    ),
    planted(
        "22c",
        "without a charge there is no date",
        _READING,
        "        return datetime.fromtimestamp(intent.created, UTC) + _HOLDS_SHORTEST\n",
        "        return None  # type: ignore[return-value]\n",
        _AUTHORIZE,
    ),
    planted(
        "22c",
        "the charge is not asked for",
        _FORMS,
        '_EXPAND: Final = ["latest_charge"]',
        "_EXPAND: Final[list[str]] = []",
        _AUTHORIZE,
    ),
    planted(
        "22d",
        "the charge is not asked for by an inquiry",
        _FINDING,
        '_EXPAND: Final = ["latest_charge"]',
        "_EXPAND: Final[list[str]] = []",
        _FOUND,
    ),
    planted(
        "23a",
        "the signature is over the event written again",
        _CALLBACKS,
        '    signed = at.encode() + b"." + body\n',
        '    import json\n\n    signed = f"{at}.{json.dumps(json.loads(body))}".encode()\n',
        _OF_CALLBACKS,
    ),
    planted(
        "23b",
        "the signature is over the body alone",
        _CALLBACKS,
        '    signed = at.encode() + b"." + body\n',
        "    signed = body\n",
        _OF_CALLBACKS,
    ),
    planted(
        "23c",
        "the time is not compared",
        _CALLBACKS,
        " or abs(now.timestamp() - int(at)) > AGE_S_MAX:\n",
        ":\n",
        _OF_CALLBACKS,
    ),
    planted(
        "23d",
        "the first signature decides",
        _CALLBACKS,
        "        for mac in macs:\n",
        "        for mac in macs[:1]:\n",
        _OF_CALLBACKS,
    ),
    planted(
        "23e",
        "Stripe's fake scheme counts",
        _CALLBACKS,
        'if name == "v1" and',
        'if name in ("v0", "v1") and',
        _OF_CALLBACKS,
    ),
    planted(
        "23f",
        "one secret of the account is tried",
        _CALLBACKS,
        "    for secret in secrets:\n",
        "    for secret in secrets[:1]:\n",
        _OF_CALLBACKS,
    ),
    planted(
        "23g",
        "the secret's prefix is none of it",
        _CALLBACKS,
        "hmac.new(secret.encode(),",
        'hmac.new(secret.removeprefix("whsec_").encode(),',
        _OF_CALLBACKS,
    ),
    planted(
        "23i",
        "of two times the last is checked",
        _CALLBACKS,
        "    if len(times) != 1 or not 0 < len(macs)",
        "    if not times or not 0 < len(macs)",
        _OF_CALLBACKS,
    ),
    planted(
        "24c",
        "an event is known by its type and object",
        _CALLBACKS,
        "event_id=event.id,",
        'event_id=f"{event.type}/{event.data.object.id}",',
        _OF_CALLBACKS,
    ),
    planted(
        "24g",
        "the mode of an event is not compared",
        _CALLBACKS,
        "    if event.livemode is not live or another:\n",
        "    if another:\n",
        _OF_CALLBACKS,
    ),
    planted(
        "24g",
        "the account of an event is not compared",
        _CALLBACKS,
        "    if event.livemode is not live or another:\n",
        "    if event.livemode is not live:\n",
        _OF_CALLBACKS,
    ),
)
