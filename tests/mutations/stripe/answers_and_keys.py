"""Misreadings about how answers are read, amounts, and the keys of requests; see the package."""

from typing import Final

from tests.mutations.stripe.planting import planted

_CONNECTOR: Final = "connector.py"
_READING: Final = "reading.py"
_DESK: Final = "desk.py"
_FINDING: Final = "finding.py"
_AMOUNTS: Final = "amounts.py"
_AUTHORIZE: Final = "test_stripe_authorize.py"
_FOUND: Final = "test_stripe_found.py"
_MODIFY: Final = "test_stripe_modify.py"
_OF_AMOUNTS: Final = "test_stripe_amounts.py"

ANSWERS_AND_KEYS: Final = (
    planted(
        "1a",
        "what is held counts as captured",
        _READING,
        "amount=held, stage=Stage.AUTHORIZED)\n        case",
        "amount=held, stage=Stage.CAPTURED)\n        case",
        _AUTHORIZE,
    ),
    planted(
        "1b",
        "a charge that succeeded counts as captured",
        _READING,
        "amount=held, stage=Stage.AUTHORIZED)\n        case",
        "amount=held, stage=Stage.CAPTURED if intent.charge else Stage.AUTHORIZED)\n        case",
        _AUTHORIZE,
    ),
    planted(
        "1c",
        "an automatic payment that is held counts as captured",
        _READING,
        "amount=held, stage=Stage.AUTHORIZED)\n        case",
        "amount=held, stage=Stage.CAPTURED if call.automatic_capture else Stage.AUTHORIZED)\n        case",
        _FOUND,
    ),
    planted(
        "2a",
        "an intent that nobody has confirmed yet is declined",
        _READING,
        "    return NotKnown() if intent.latest_charge is None else",
        "    return declined(StripeError(), intent_id=intent.id) if intent.latest_charge is None else",
        _FOUND,
    ),
    planted(
        "4a",
        "what was captured is the intent's amount",
        _READING,
        "amount=intent.amount_received, stage=Stage.CAPTURED)",
        "amount=intent.amount, stage=Stage.CAPTURED)",
        _AUTHORIZE,
    ),
    planted(
        "4a",
        "what a capture took is the intent's amount",
        _READING,
        "            return _captured(intent, call, intent.amount_received)",
        "            return _captured(intent, call, intent.amount)",
        _MODIFY,
    ),
    planted(
        "4b",
        "one of several captures took what was received so far",
        _READING,
        "            return _captured(intent, call, marked)",
        "            return _captured(intent, call, intent.amount_received)",
        _MODIFY,
    ),
    planted(
        "4e",
        "the currency of an intent is not looked at",
        _READING,
        "    if intent.currency != call.currency.lower():",
        "    if False:",
        _AUTHORIZE,
    ),
    planted(
        "5a",
        "yen times 100",
        _AMOUNTS,
        '_TIMES: Final = {"UGX": 100, "ISK": 100}',
        '_TIMES: Final = {"UGX": 100, "ISK": 100, "JPY": 100}',
        _OF_AMOUNTS,
    ),
    planted(
        "5b",
        "the krona and the Ugandan shilling by ISO 4217",
        _AMOUNTS,
        '_TIMES: Final = {"UGX": 100, "ISK": 100}',
        "_TIMES: Final[dict[str, int]] = {}",
        _OF_AMOUNTS,
    ),
    planted(
        "5c",
        "the ariary by ISO 4217",
        _AMOUNTS,
        '_DIVIDED_BY: Final = {"MGA": 100}',
        "_DIVIDED_BY: Final[dict[str, int]] = {}",
        _OF_AMOUNTS,
    ),
    planted(
        "5e",
        "the third decimal of a dinar is sent",
        _AMOUNTS,
        "10 if currency in _THREE_DECIMALS else 1",
        "1",
        _OF_AMOUNTS,
    ),
    planted(
        "5h",
        "an answer in krona is taken as it is",
        _AMOUNTS,
        "    return amount * _DIVIDED_BY.get(currency, 1) // _TIMES.get(currency, 1)",
        "    return amount",
        _OF_AMOUNTS,
    ),
    planted(
        "6a",
        "the money call has no key",
        _CONNECTOR,
        '        request = self._desk.post(path, form, reference=call.reference, purpose="send")\n',
        "        request = HttpRequest(path=path, form=form)\n",
        _AUTHORIZE,
    ),
    planted(
        "6a",
        "a capture, a void and a refund have no key",
        _CONNECTOR,
        '        request = self._desk.post(path, form, reference=call.reference, purpose="send")\n',
        '        request = self._desk.post(path, form, reference=call.reference, purpose="send")\n'
        "        if call.kind is not OperationKind.AUTHORIZE:\n"
        "            request = HttpRequest(path=path, form=form)\n",
        _MODIFY,
    ),
    planted(
        "6b",
        "one key for the create and the confirmation",
        _CONNECTOR,
        'reference=call.reference, purpose="send")\n',
        'reference=call.reference, purpose="pre")\n',
        _AUTHORIZE,
    ),
    planted(
        "6c",
        "one key for the card and the intent",
        _CONNECTOR,
        'purpose="pre-2"',
        'purpose="pre"',
        _AUTHORIZE,
    ),
    planted(
        "6e",
        "the key is in no header of Stripe's",
        _DESK,
        'headers={"Idempotency-Key": key}',
        'headers={"X-Idempotency": key}',
        _AUTHORIZE,
    ),
    planted(
        "7a",
        "a refund's key is the payment's",
        _CONNECTOR,
        'reference=call.reference, purpose="send")\n',
        "reference=call.payment_id if call.kind is OperationKind.REFUND else call.reference, "
        'purpose="send")\n',
        _MODIFY,
    ),
    planted(
        "7b",
        "the confirmation's key is the payment's",
        _CONNECTOR,
        'reference=call.reference, purpose="send")\n',
        "reference=call.payment_id if call.kind is OperationKind.AUTHORIZE else call.reference, "
        'purpose="send")\n',
        _AUTHORIZE,
    ),
    planted(
        "7c",
        "a capture's key is the payment's",
        _CONNECTOR,
        'reference=call.reference, purpose="send")\n',
        "reference=call.payment_id if call.kind is OperationKind.CAPTURE else call.reference, "
        'purpose="send")\n',
        _MODIFY,
    ),
    planted(
        "8b",
        "a create is believed for 30 days",
        _FINDING,
        "timedelta(hours=20)",
        "timedelta(days=30)",
        _FOUND,
    ),
)
