"""Idempotency keys and preferences as clients write them, and the fingerprint of a request as understood."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from api.problems import Problem
from payonce.domain.card_numbers import looks_like_card_number, may_hold_card_number
from payonce.storage.merchants import Caller

KEY_MAX_LENGTH = 255
WAIT_S_MAX = 30

_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_MAX_LENGTH}}}")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(.*)')
_PARAMETER_VALUE = r'(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[^\s";,]+)'
_PARAMETERS = re.compile(rf"(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:={_PARAMETER_VALUE})?[ ]*)*")
_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,6})"?', re.IGNORECASE)


def required_key(headers: Headers) -> str:
    """The request's idempotency key. Raises `Problem` when it is missing or not valid."""
    key = optional_key(headers)
    if key is None:
        raise Problem("idempotency_key_missing", "This request needs the header Idempotency-Key.")
    return key


def optional_key(headers: Headers) -> str | None:
    """The key in its bare or its quoted form, which are the same key; None when it is missing or empty.

    Source: draft-ietf-httpapi-idempotency-key-header, an Item of RFC 9651, its parameters ignored; the bare
    form is what most clients send. Raises `Problem`.
    """
    values = [value.strip(" \t") for value in headers.getlist("idempotency-key")]
    if len(values) > 1:
        raise _invalid("There is more than one Idempotency-Key.")
    key = key_in(values[0]) if values else None
    if key is None:
        return None
    if not is_key(key):
        raise _invalid(f"An Idempotency-Key has 1 to {KEY_MAX_LENGTH} visible ASCII characters.")
    if looks_like_card_number(key):
        raise _invalid("An Idempotency-Key must not look like a card number.")
    return key


def hashed(key: str, *, caller: Caller, secret: bytes) -> str | None:
    """What is stored in place of a key in which a card number may stand, though it need not; else None.

    It begins with a space, as no key does. The merchant's own: another's same key has another one.
    """
    if not may_hold_card_number(key):
        return None
    message = json.dumps(["key", caller.merchant_id, caller.mode, key]).encode()
    return f" {hmac.new(secret, message, hashlib.sha256).hexdigest()}"


def key_in(value: str) -> str | None:
    """What a value of the header says, in either form; None for nothing. Raises `Problem`."""
    return (_quoted(value) if value.startswith('"') else _bare(value)) or None


def is_key(text: str) -> bool:
    """Whether a key may be so."""
    return _KEY.fullmatch(text) is not None


def wait_s(headers: Headers) -> float:
    """The seconds of `Prefer: wait=N` (RFC 7240 §4.3), at most `WAIT_S_MAX`; 0 where there is none."""
    for value in headers.getlist("prefer"):
        for preference in value.split(","):
            if found := _WAIT.fullmatch(preference.split(";")[0].strip()):
                return float(min(int(found[1]), WAIT_S_MAX))
    return 0.0


def fingerprint(body: Mapping[str, Any], *, method: str, path: str, secret: bytes) -> bytes:
    """A keyed hash of the request as understood: the same for every spelling of the same request.

    `body` is the validated body with its defaults, without security codes, card numbers as keyed hashes.
    """
    canonical = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hmac.new(secret, b"request:" + canonical.encode(), hashlib.sha256).digest()


def hash_number(number: str, *, secret: bytes) -> str:
    """What stands for a card number in a fingerprint."""
    return hmac.new(secret, b"card:" + number.encode(), hashlib.sha256).hexdigest()


def _quoted(value: str) -> str:
    """The String of RFC 9651 §3.3.3."""
    found = _QUOTED.fullmatch(value)
    if found is None or not _PARAMETERS.fullmatch(found[2].strip(" ")):
        raise _invalid("The quotes of the Idempotency-Key are not balanced, or something follows them.")
    return re.sub(r'\\(["\\])', r"\1", found[1])


def _bare(value: str) -> str:
    if "," in value:
        raise _invalid("An Idempotency-Key with a comma needs quotes.")
    if value.count('"') % 2:
        raise _invalid("The quotes of the Idempotency-Key are not balanced.")
    return value


def _invalid(detail: str) -> Problem:
    return Problem("idempotency_key_invalid", detail)
