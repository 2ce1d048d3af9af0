"""Misreadings about answers, amounts, keys and errors that were planted second; see the package."""

from typing import Final

from tests.mutations.stripe.planting import planted

_CONNECTOR: Final = "connector.py"
_REFUSING: Final = "refusing.py"
_READING: Final = "reading.py"
_DESK: Final = "desk.py"
_FINDING: Final = "finding.py"
_FORMS: Final = "forms.py"
_AMOUNTS: Final = "amounts.py"
_CODES: Final = "codes.toml"
_AUTHORIZE: Final = "test_stripe_authorize.py"
_FOUND: Final = "test_stripe_found.py"
_REVERSED: Final = "test_stripe_reversed.py"
_OF_KEYS: Final = "test_stripe_keys.py"
_MODIFY: Final = "test_stripe_modify.py"
_OF_AMOUNTS: Final = "test_stripe_amounts.py"
_OF_CODES: Final = "test_stripe_codes.py"
_NOT_MOVED: Final = "        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)\n"
_INQUIRES: Final = "        return await within(self._inquire(call))\n"

REST_OF_ANSWERS: Final = (
    planted(
        "2b",
        "what nobody has confirmed is closed by time and not by its cancellation",
        _CONNECTOR,
        "            reverses=frozenset({OperationKind.AUTHORIZE}),\n",
        "            reverses=frozenset(),\n",
        "test_stripe_account.py",
    ),
    planted(
        "2b",
        "without a charge nothing was tried, whatever the error says",
        _READING,
        "    failed = _failure(intent)\n    if failed is not None:\n"
        "        return declined(failed, intent_id=intent.id, charge=intent.charge)\n    return NotKnown()",
        "    failed = _failure(intent)\n    if failed is not None and intent.latest_charge is not None:\n"
        "        return declined(failed, intent_id=intent.id, charge=intent.charge)\n    return NotKnown()",
        _FOUND,
    ),
    planted(
        "4c",
        "what is held is what was intended, less what was taken",
        _READING,
        "            held = intent.amount_capturable + intent.amount_received\n",
        "            held = intent.amount - intent.amount_received\n",
        _AUTHORIZE,
    ),
    planted(
        "4d",
        "a refund's amount is the sum of all",
        _CONNECTOR,
        "            return reading.after_refunds(fact, intent, refunds, call)\n",
        "            whole = 0 if intent.charge is None else intent.charge.amount_refunded\n"
        '            refunds = [one.model_copy(update={"amount": whole}) for one in refunds]\n'
        "            return reading.after_refunds(fact, intent, refunds, call)\n",
        _FOUND,
    ),
    planted(
        "5d",
        "a dinar has two decimals",
        _AMOUNTS,
        '_DIVIDED_BY: Final = {"MGA": 100}',
        '_DIVIDED_BY: Final = {"MGA": 100, "KWD": 10}',
        _OF_AMOUNTS,
    ),
    planted(
        "5f",
        "a part of a krona is left out without a word",
        _AMOUNTS,
        "    if amount % _TIMES.get(currency, 1):\n",
        "    if False:\n",
        _OF_AMOUNTS,
    ),
    planted(
        "5g",
        "forint and Taiwan dollar are whole",
        _AMOUNTS,
        "    return _DIVIDED_BY.get(currency,",
        '    return {**_DIVIDED_BY, "HUF": 100, "TWD": 100}.get(currency,',
        _OF_AMOUNTS,
    ),
    planted(
        "6d",
        "every call has a key of chance",
        _DESK,
        "        key = self._keys.key(reference, purpose, length=KEY_LENGTH)\n",
        "        import secrets\n\n        key = secrets.token_hex(20)\n",
        _AUTHORIZE,
    ),
    planted(
        "6f",
        "the body of a create says when it was made",
        _FORMS,
        '        "description": (call.description or call.payment_id)[:DESCRIPTION_LENGTH_MAX],\n',
        '        "description": f"{call.payment_id} {__import__(\'time\').time_ns()}",\n',
        _FOUND,
    ),
    planted(
        "6f",
        "the metadata of a create are in the order in which they came",
        _FORMS,
        "dict(sorted(fitting.items())[: KEYS_MAX - len(ours)])",
        "dict(list(fitting.items())[: KEYS_MAX - len(ours)])",
        _OF_KEYS,
    ),
    planted(
        "7d",
        "a key does not name the account",
        _DESK,
        "        self._keys = UpstreamKeys.of(account)\n",
        '        self._keys = UpstreamKeys(account.upstream_secret, "stripe")\n',
        _OF_KEYS,
    ),
    planted(
        "7e",
        "a reversal has the key of what it undoes",
        _CONNECTOR,
        'purpose="reverse")\n',
        'purpose="send")\n',
        _REVERSED,
    ),
    planted(
        "8a",
        "a create is a way of asking for ever",
        _FINDING,
        "        if call.claimed_at is None or self._now() - call.claimed_at < KEY_GOOD_FOR:\n",
        "        if True:\n",
        _FOUND,
    ),
    planted(
        "9c",
        "a key that was used otherwise proves that it succeeded",
        _CONNECTOR,
        _NOT_MOVED,
        '        if error.type == "idempotency_error":\n'
        "            return Approved(intent_id, call.amount_minor, call.currency)  # type: ignore[return-value]\n"
        + _NOT_MOVED,
        _AUTHORIZE,
    ),
    planted(
        "10d",
        "what is cancelled already is cancelled again",
        _CONNECTOR,
        '        if intent.status not in ("canceled", "succeeded"):\n            intent = await',
        '        if intent.status != "succeeded":\n            intent = await',
        _REVERSED,
    ),
    planted(
        "11e",
        "a card error without a charge says that nothing happened",
        _CONNECTOR,
        "        if same and about is not None and answer.status == 402 and error.type == CARD_ERROR:\n",
        "        if same and about is not None and about.latest_charge is None and answer.status == 402:\n"
        '            raise NotSent("no charge")\n'
        "        if same and about is not None and answer.status == 402 and error.type == CARD_ERROR:\n",
        _AUTHORIZE,
    ),
    planted(
        "11f",
        "a 402 on a capture or refund fails it",
        _REFUSING,
        "    if not (answer.status == 400 and error.type == INVALID and for_good):\n",
        "    if answer.status != 402 and not (\n"
        "        answer.status == 400 and error.type == INVALID and for_good\n    ):\n",
        _MODIFY,
    ),
    planted(
        "12e",
        "a test card is tried elsewhere",
        _CODES,
        'testmode_decline = { means = "generic_decline", where = "never" }',
        'testmode_decline = { means = "generic_decline", where = "other" }',
        _OF_CODES,
    ),
    planted(
        "12f",
        "a rail that is away, or did not answer, is tried elsewhere",
        _CODES,
        "[card_errors]\n",
        '[card_errors]\npayment_method_not_available = { means = "processing_error", where = "other" }\n'
        'payment_method_provider_timeout = { means = "processing_error", where = "other" }\n',
        _OF_CODES,
    ),
    planted(
        "13b",
        "the advice is known as a decline code alone",
        "codes.py",
        'error.advice_code == "do_not_try_again" or error.network_advice_code in _NEVER_AGAIN\n',
        'error.decline_code == "do_not_try_again"\n',
        _OF_CODES,
    ),
    planted(
        "13g",
        "what Stripe reviews is pending",
        _READING,
        "    ours = [name for name in intent.metadata if name.startswith(CAPTURE)]\n",
        "    charge = intent.charge\n"
        '    if charge is not None and charge.outcome is not None and charge.outcome.type == "manual_review":\n'
        '        return Pending(intent.id, reason="manual_review")  # type: ignore[return-value]\n'
        "    ours = [name for name in intent.metadata if name.startswith(CAPTURE)]\n",
        _FOUND,
    ),
    planted(
        "14c",
        "what failed at Stripe is confirmed again with a new key",
        _CONNECTOR,
        "        except OutcomeUnknown as unknown:\n"
        "            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None\n",
        "        except OutcomeUnknown:\n"
        '            again = self._desk.post(path, form, reference=call.reference, purpose="reverse-2")\n'
        "            return await self._desk.http.sending(sending._may_send).move(again)\n",
        _OF_KEYS,
    ),
    planted(
        "14f",
        "an answer that cannot be read was not sent",
        _CONNECTOR,
        "        found = self._intent(answer, call, id_=intent_id)\n"
        '        if found.status == "requires_action":\n',
        "        try:\n            found = self._intent(answer, call, id_=intent_id)\n"
        '        except OutcomeUnknown:\n            raise NotSent("garbage") from None\n'
        '        if found.status == "requires_action":\n',
        _AUTHORIZE,
    ),
    planted(
        "15b",
        "one confirmation too many is unknown",
        _DESK,
        "        return _limited(response)\n    _alert(response, error, reference=reference)\n"
        "    if response.status in (401, 403):\n",
        '        return OutcomeUnknown("limited", connector_reference=object_id)\n'
        "    _alert(response, error, reference=reference)\n    if response.status in (401, 403):\n",
        _AUTHORIZE,
    ),
    planted(
        "15b",
        "one confirmation too many takes the account out of routing",
        _DESK,
        "        return _limited(response)\n    _alert(response, error, reference=reference)\n"
        "    if response.status in (401, 403):\n",
        '        return Rejected("limited")\n'
        "    _alert(response, error, reference=reference)\n    if response.status in (401, 403):\n",
        _AUTHORIZE,
    ),
    planted(
        "16c",
        "a list without ours says that there is none",
        _CONNECTOR,
        _INQUIRES,
        "        try:\n            return await within(self._inquire(call))\n"
        "        except OutcomeUnknown as unknown:\n"
        '            if not unknown.message.startswith("no intent of ours"):\n                raise\n'
        "            return NotKnown()\n",
        _FOUND,
    ),
    planted(
        "16e",
        "a key that is refused closes what was asked about",
        _DESK,
        "    missing = response.status == 404",
        "    if ours_to_mend(response, error):\n"
        '        return Rejected("key")  # type: ignore[return-value]\n'
        "    missing = response.status == 404",
        _FOUND,
    ),
    planted(
        "16f",
        "a key that may not read the list finds nothing there",
        _DESK,
        "            page = await self.ask(asked, model, reference=reference)\n",
        "            try:\n                page = await self.ask(asked, model, reference=reference)\n"
        "            except OutcomeUnknown as unknown:\n"
        '                if "HTTP 403" not in unknown.message:\n                    raise\n'
        "                return\n",
        _FOUND,
    ),
)
