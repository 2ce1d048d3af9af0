"""Misreadings about what an error means; see the package."""

from typing import Final

from tests.mutations.stripe.planting import planted

_CONNECTOR: Final = "connector.py"
_REFUSING: Final = "refusing.py"
_DESK: Final = "desk.py"
_FINDING: Final = "finding.py"
_CODES: Final = "codes.toml"
_AUTHORIZE: Final = "test_stripe_authorize.py"
_FOUND: Final = "test_stripe_found.py"
_REVERSED: Final = "test_stripe_reversed.py"
_MODIFY: Final = "test_stripe_modify.py"
_OF_CODES: Final = "test_stripe_codes.py"

ERRORS: Final = (
    planted(
        "9a",
        "a conflict with a request of our own was not sent",
        _DESK,
        "    if response.status in (401, 403):\n        return Rejected",
        "    if response.status in (401, 403, 409):\n        return Rejected",
        _AUTHORIZE,
    ),
    planted(
        "9b",
        "a key that was used otherwise refuses the confirmation",
        _CONNECTOR,
        "        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)\n",
        '        if error.type == "idempotency_error":\n'
        '            return refused(call, error, "")\n'
        "        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)\n",
        _AUTHORIZE,
    ),
    planted(
        "9b",
        "a key that was used otherwise refuses a capture, a void or a refund",
        _REFUSING,
        "error.type == INVALID and for_good):\n        raise not_moved",
        "(error.type == INVALID and for_good or error.type != INVALID)):\n        raise not_moved",
        _MODIFY,
    ),
    planted(
        "10a",
        "a confirmation in an unexpected state is refused",
        _CONNECTOR,
        "error.type == INVALID and pointer is not None and untouched:",
        'error.type == INVALID and (error.code == "payment_intent_unexpected_state" or pointer):',
        _AUTHORIZE,
    ),
    planted(
        "10b",
        "a cancellation that fails has undone all the same",
        _CONNECTOR,
        "            intent = await self._cancel(call, intent.id, forms.REVERSED)\n",
        "            try:\n"
        "                intent = await self._cancel(call, intent.id, forms.REVERSED)\n"
        "            except OutcomeUnknown:\n"
        "                return Reversed()\n",
        _REVERSED,
    ),
    planted(
        "10c",
        "a capture in an unexpected state has succeeded",
        _CONNECTOR,
        '                return Pending(intent_id, reason="canceled already")\n            return refused',
        '                return Pending(intent_id, reason="canceled already")\n'
        "            return Approved(intent_id, call.amount_minor, call.currency)\n"
        "            return refused",
        _MODIFY,
    ),
    planted(
        "11a",
        "a card that is not taken was not sent",
        _REFUSING,
        "    if answer.status == 402 and error.type == CARD_ERROR:\n",
        "    if False:\n",
        _AUTHORIZE,
    ),
    planted(
        "11b",
        "a wrong number was the issuer's decision",
        _CODES,
        'incorrect_cvc = { means = "incorrect_cvc", where = "same" }\n'
        'incorrect_number = { means = "generic_decline", where = "never" }\n'
        'incorrect_zip = { means = "generic_decline", where = "same" }\n',
        'incorrect_cvc = { means = "incorrect_cvc", where = "same" }\n'
        'incorrect_number = { means = "generic_decline", where = "other" }\n'
        'incorrect_zip = { means = "generic_decline", where = "same" }\n',
        _OF_CODES,
    ),
    planted(
        "11c",
        "the issuer's reason is not looked at",
        "codes.py",
        '    decline = _DECLINES.get(error.decline_code or "")\n',
        '    decline = _DECLINES.get("")\n',
        _OF_CODES,
    ),
    planted(
        "11d",
        "every 402 is a decline",
        _CONNECTOR,
        "answer.status == 402 and error.type == CARD_ERROR:\n            return reading.declined(",
        "answer.status == 402:\n            return reading.declined(",
        _AUTHORIZE,
    ),
    planted(
        "12a",
        "a processing error is tried elsewhere",
        _CODES,
        'processing_error = { means = "processing_error", where = "same" }\nreenter',
        'processing_error = { means = "processing_error", where = "other" }\nreenter',
        _OF_CODES,
    ),
    planted(
        "12b",
        "an issuer that is away is tried elsewhere",
        _CODES,
        'issuer_not_available = { means = "processing_error", where = "same" }',
        'issuer_not_available = { means = "processing_error", where = "other" }',
        _OF_CODES,
    ),
    planted(
        "12c",
        "what was charged a moment ago is charged elsewhere",
        _CODES,
        'duplicate_transaction = { means = "generic_decline", where = "same" }',
        'duplicate_transaction = { means = "generic_decline", where = "other" }',
        _OF_CODES,
    ),
    planted(
        "12d",
        "a card that wants 3-D Secure is tried elsewhere",
        _CODES,
        'authentication_required = { means = "authentication_required", where = "same" }\ncall_issuer',
        'authentication_required = { means = "authentication_required", where = "other" }\ncall_issuer',
        _OF_CODES,
    ),
    planted(
        "12g",
        "a decline code that nobody knows is tried elsewhere",
        "codes.py",
        'DeclineMeaning(DeclineCode.GENERIC_DECLINE, "same")',
        'DeclineMeaning(DeclineCode.GENERIC_DECLINE, "other")',
        _OF_CODES,
    ),
    planted(
        "13a",
        "the advice never to try again is dropped",
        "codes.py",
        'error.advice_code == "do_not_try_again" or ',
        "",
        _OF_CODES,
    ),
    planted(
        "13c",
        "the networks' advice is dropped",
        "codes.py",
        " or error.network_advice_code in _NEVER_AGAIN",
        "",
        _OF_CODES,
    ),
    planted(
        "13d",
        "a failed charge's outcome is not read",
        "reading.py",
        "    outcome = charge.outcome or ChargeOutcome()\n    return StripeError(",
        "    outcome = ChargeOutcome()\n    return StripeError(",
        "test_stripe_found.py",
    ),
    planted(
        "13e",
        "what Stripe blocked bars the card everywhere",
        "codes.py",
        " if never and not blocked else",
        " if never else",
        "test_stripe_found.py",
    ),
    planted(
        "14a",
        "a confirmation that failed at Stripe was not sent",
        _CONNECTOR,
        "        except OutcomeUnknown as unknown:\n"
        "            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None\n",
        "        except OutcomeUnknown as unknown:\n            raise NotSent(unknown.message) from None\n",
        _AUTHORIZE,
    ),
    planted(
        "14b",
        "424 is a refusal like any other",
        _CONNECTOR,
        "        except OutcomeUnknown as unknown:\n"
        "            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None\n",
        "        except OutcomeUnknown as unknown:\n"
        '            if "424" in unknown.message:\n'
        "                raise Rejected(unknown.message) from None\n"
        "            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None\n",
        _AUTHORIZE,
    ),
    planted(
        "14d",
        "a create that is answered 500 again proves that there is nothing",
        _FINDING,
        "            except ConnectorError:\n",
        "            except OutcomeUnknown as unknown:\n"
        '                raise NotSent("nothing there") from unknown\n'
        "            except ConnectorError:\n",
        _FOUND,
    ),
    planted(
        "14e",
        "a cancellation that is answered 500 has undone",
        _CONNECTOR,
        "            intent = await self._cancel(call, intent.id, forms.REVERSED)\n",
        "            try:\n"
        "                intent = await self._cancel(call, intent.id, forms.REVERSED)\n"
        "            except OutcomeUnknown as unknown:\n"
        '                if "HTTP 5" not in unknown.message:\n'
        "                    raise\n"
        "                return Reversed()\n",
        _REVERSED,
    ),
    planted(
        "15a",
        "a question too many is answered with nothing there",
        _CONNECTOR,
        "        return await within(self._inquire(call))\n",
        "        try:\n"
        "            return await within(self._inquire(call))\n"
        "        except ConnectorError as error:\n"
        "            if isinstance(error, OutcomeUnknown):\n"
        "                raise\n"
        "            return NotKnown()\n",
        _FOUND,
    ),
    planted(
        "15a",
        "a reversal that was one request too many has undone",
        _CONNECTOR,
        "            intent = await self._cancel(call, intent.id, forms.REVERSED)\n",
        "            try:\n"
        "                intent = await self._cancel(call, intent.id, forms.REVERSED)\n"
        "            except OutcomeUnknown:\n"
        "                raise\n"
        "            except ConnectorError:\n"
        "                return Reversed()\n",
        _FOUND,
    ),
    planted(
        "15c",
        "what holds the intent right now refuses the confirmation",
        _CONNECTOR,
        "        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)\n",
        '        if error.code == "lock_timeout" and error.type == INVALID:\n'
        '            return refused(call, error, "")\n'
        "        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)\n",
        _AUTHORIZE,
    ),
    planted(
        "15d",
        "what holds the intent right now cannot be cancelled",
        _DESK,
        '    if response.status == 429 and error.code != "lock_timeout":\n'
        "        return _limited(response)\n"
        "    _alert(response, error, reference=reference)\n"
        '    said = f"HTTP',
        "    if response.status == 429:\n"
        "        return _limited(response)\n"
        "    _alert(response, error, reference=reference)\n"
        '    said = f"HTTP',
        _FOUND,
    ),
    planted(
        "16a",
        "a key that is refused finds nothing there",
        _CONNECTOR,
        "        return await within(self._inquire(call))\n",
        "        try:\n"
        "            return await within(self._inquire(call))\n"
        "        except OutcomeUnknown as unknown:\n"
        '            if not unknown.message.startswith(("HTTP 401", "HTTP 403")):\n'
        "                raise\n"
        "            return NotKnown()\n",
        _FOUND,
    ),
    planted(
        "16b",
        "what this key does not find is not there",
        _CONNECTOR,
        "        return await within(self._inquire(call))\n",
        "        try:\n"
        "            return await within(self._inquire(call))\n"
        "        except OutcomeUnknown as unknown:\n"
        '            if not unknown.message.startswith("HTTP 404"):\n'
        "                raise\n"
        "            return NotKnown()\n",
        _FOUND,
    ),
    planted(
        "16d",
        "the mode of what is found is not compared",
        _DESK,
        "        if livemode is not self.live:\n",
        "        if False:\n",
        _FOUND,
    ),
)
