"""No input, of the largest size and whatever is in it, is more work for the event loop than `STEPS_MAX`.

In Python the work is counted. What C does (expressions, parsers) is not: it must grow with the input, not faster.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from api.http import auth, key_header, lists
from api.http.bodies import VALUES_MAX, parse
from api.http.protocol import HEAD_BYTES_MAX
from api.http.validation import understand
from api.problems import ERRORS_MAX, Problem, pointer_of
from api.schemas import payments, times, webhooks
from api.schemas.payments import Body, Context
from payonce.connectors.base import ConnectorAccount
from payonce.connectors.http import RESPONSE_BYTES_MAX, AcquirerResponse, _is_content
from payonce.connectors.sandbox import answers, wire
from payonce.domain.card_numbers import looks_like_card_number, may_hold_card_number
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown
from payonce.logging import TEXT_MAX, redact
from payonce.storage.webhooks.completions import Lease
from payonce.webhooks.addresses import ForbiddenAddress, parse_url
from payonce.webhooks.answers import BODY_BYTES_KEPT
from payonce.webhooks.attempt import Sender, retry_after_s
from tests.api.fakes import payment_body
from tests.support.work import GROWTH_MAX, TIMES, Work, growth, steps

# Bytecodes. A body of texts that are digits and their escapes takes 2.3 million (Python 3.11), and 20 ms where that
# was measured; nearly all of it is the search for card numbers, which the number of digits bounds.
STEPS_MAX = 3_000_000
BODY_BYTES = 256 * 1024  # what api.md allows
TEXT_LENGTH, KEY_LENGTH = 500, 255
NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
CONTEXT = Context(mode="test", allow_loopback=False)
REFUSALS = (Problem, CallbackInvalid, OutcomeUnknown, ForbiddenAddress, ValueError)

# What costs a search for card numbers, or an expression, the most.
UNITS = (
    "6 ",
    "4 ",
    "1 ",
    "36 ",
    "٦ ",
    "%36 ",
    "٣%20",
    "%41",
    "%",
    "6_",
    "+4",
    "a-",
    "1a",
    "20-1-",
    "٦",
    "\ufdfa",
    '"',
    "\\",
    "{",
    "[",
    ",",
    ";",
)


def is_bounded(of_size: Callable[[int], Work], size: int, *, least: int = 1) -> None:
    """At this size, the largest that is let in, it is no more work than that; up to it, it grows evenly."""

    def answered(size: int) -> Work:
        work = of_size(size)

        def run() -> None:
            with suppress(*REFUSALS):
                work()

        return run

    assert growth(answered, size, least=least) <= GROWTH_MAX
    assert steps(answered(size)) <= STEPS_MAX


def full(unit: str, size: int) -> str:
    """The unit again and again, of so many characters."""
    return (unit * size)[:size]


def listed(item: str, size: int, *, around: str = "[{}]") -> bytes:
    """As many of them as so many bytes have room for."""
    return around.format(",".join([item] * (size // (len(item) + 1)))).encode()[:size]


def understood(model: type[Body], body: dict[str, Any]) -> Callable[[], object]:
    raw = json.dumps(body, ensure_ascii=False).encode()
    assert len(raw) <= BODY_BYTES
    return lambda: understand(model, cast("dict[str, Any]", parse(raw)), CONTEXT)


JSON: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda size: listed("1", size),
    "long numbers": lambda size: listed("1" * 4_299, size),
    "floats": lambda size: listed("2.2250738585072011e-308", size),
    "one float": lambda size: b'{"amount":1.' + b"1" * (size - 13) + b"}",
    "objects": lambda size: listed("{}", size),
    "nested objects": lambda size: listed('{"a":' * 7 + "1" + "}" * 7, size),
    "nested arrays": lambda size: listed("[" * 15 + "]" * 15, size),
    "opened only": lambda size: b'{"a":' * (size // 5),
    "arrays opened only": lambda size: b"[" * size,
    "members": lambda size: b"{" + b",".join(b'"%x":1' % number for number in range(size // 10)) + b"}",
    "nulls": lambda size: b"{" + b",".join(b'"%x":null' % number for number in range(size // 13)) + b"}",
    "duplicates": lambda size: listed('"a":1', size, around="{{{}}}"),
    "brackets in a text": lambda size: b'{"a":"' + b"[" * (size - 8) + b'"}',
    "escapes": lambda size: b'{"a":"' + rb"\u0041" * (size // 6 - 2) + b'"}',
    "surrogates": lambda size: b'{"a":"' + rb"\ud800" * (size // 6 - 2) + b'"}',
    "escaped texts": lambda size: listed(r'"\u0041"', size),
    "quotes": lambda size: b'{"a":"' + rb"\"" * (size // 2 - 3),
    "backslashes": lambda size: b'{"a":"' + b"\\" * (size - 6),
    "spaces": lambda size: b" " * (size - 2) + b"{}",
    "not UTF-8": lambda size: b"a" * (size - 1) + b"\xff",
}


LEAST = {"long numbers": BODY_BYTES // TIMES}  # less has room for none


def json_of(of: str, size: int) -> bytes:
    raw = JSON[of](size)
    assert len(raw) <= size
    return raw


def parsed(raw: bytes) -> Work:
    return lambda: parse(raw)


@pytest.mark.parametrize("of", JSON)
def test_parsing_a_body_of_any_json_is_bounded(of: str) -> None:
    is_bounded(lambda size: parsed(json_of(of, size)), BODY_BYTES, least=LEAST.get(of, 1))


def test_a_body_has_so_many_values() -> None:
    parse(json.dumps([1] * VALUES_MAX).encode())
    parse(json.dumps(["{,[" * 5_000]).encode())  # in a text they are none
    with pytest.raises(Problem):
        parse(json.dumps([1] * (VALUES_MAX + 1)).encode())
    with pytest.raises(Problem):
        parse(json.dumps({"a": [{}] * VALUES_MAX}).encode())


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("search", [looks_like_card_number, may_hold_card_number])
def test_searching_texts_for_card_numbers_grows_with_the_text(
    unit: str, search: Callable[[str], bool]
) -> None:
    """Longer texts than any that is searched: what is retried from every place would show."""
    assert growth(of_text(unit, search), 128 * TEXT_LENGTH, least=TEXT_LENGTH) <= GROWTH_MAX


@pytest.mark.parametrize("unit", UNITS)
def test_checking_texts_of_any_content_is_bounded(unit: str) -> None:
    """All texts of a request together, each as long as it may be."""
    is_bounded(lambda length: understood(payments.CreatePayment, body_of_texts(unit, length)), TEXT_LENGTH)
    is_bounded(
        lambda length: understood(
            webhooks.CreateEndpoint,
            {
                "url": "https://a.b/" + full(unit, 4 * length),
                "description": full(unit, length),
                "events": [full(unit, length)] * 50,
            },
        ),
        TEXT_LENGTH,
    )


def body_of_texts(unit: str, length: int) -> dict[str, Any]:
    text = full(unit, length)
    return payment_body(
        amount=0,
        description=text,
        merchant_reference=text[:100],
        metadata={f"{number:02}{text[:38]}": text for number in range(50)},
        return_url="https://shop.example/" + full(re.sub("[^!-~]", ".", unit), 4 * length),
        customer={
            "id": text[:100],
            "email": f"{full(unit.strip(), length)[:240]}@ab",
            "phone": text[:32],
        },
    )


MISTAKES: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "names": (900, lambda many: {f"{number}": 1 for number in range(many)}),
    "long names": (900, lambda many: {f"{number:03}" + "6 " * 30: 1 for number in range(many)}),
    "numbers": (
        900,
        lambda many: {"metadata": {f"{number:03}" + "6 " * 18: 1 for number in range(many)}},
    ),
    "texts": (
        900,
        lambda many: {"metadata": {f"{number:03}" + "6 " * 18: "6 " * 100 for number in range(many)}},
    ),
    "objects": (900, lambda many: {"metadata": {f"{number}": {} for number in range(many)}}),
    "faults": (250, lambda many: {"metadata": {"sandbox_fault": "a," * many}}),
    "a fault": (240, lambda many: {"metadata": {"sandbox_fault": "refuse:" + "/a" * many}}),
    "a text": (120_000, lambda many: {"description": "6 " * many}),
    "a card": (
        200_000,
        lambda many: {
            "payment_method": {
                "type": "card",
                "card": {"number": "4" * many, "exp_month": 1, "exp_year": 2030},
            }
        },
    ),
    "an address": (
        200_000,
        lambda many: {"payment_method": {"type": "upi", "upi": {"flow": "collect", "vpa": "a" * many}}},
    ),
    "a wallet": (
        8_000,
        lambda many: {
            "payment_method": {"type": "wallet", "wallet": {"provider": "apple_pay", "token": "a." * many}}
        },
    ),
    "an email": (120_000, lambda many: {"customer": {"email": "a@" * many}}),
    "a url": (1_000, lambda many: {"return_url": "https://" + "a." * many}),
}


@pytest.mark.parametrize("of", MISTAKES)
def test_refusing_bodies_of_nothing_but_mistakes_is_bounded(of: str) -> None:
    most, changes = MISTAKES[of]
    is_bounded(lambda many: understood(payments.CreatePayment, payment_body(**changes(many))), most)


def test_the_mistakes_that_are_put_in_words_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr("api.http.validation.pointer_of", lambda path: told.append(path) or pointer_of(path))
    body = payment_body(**{f"{number}": 1 for number in range(900)})
    with pytest.raises(Problem):
        understand(payments.CreatePayment, body, CONTEXT)
    assert len(told) == ERRORS_MAX


HEADER_UNITS = (
    *(
        '"',
        '\\"',
        "a",
        "\\",
        ";a",
        '";',
        " ;",
        '"a";a=',
        '"a"; ',
        '"a";a=b',
        "1 ",
        "6-",
        "%36",
        ",",
        "wait=1,",
    ),
    *("wait ", "wait=", ";,", "bearer ", "sk_test_a", "="),
)


@pytest.mark.parametrize("unit", HEADER_UNITS)
@pytest.mark.parametrize("before", ["", '"', "bearer ", "basic ", "wait="])
def test_reading_headers_of_any_content_is_bounded(unit: str, before: str) -> None:
    keys = auth.Keys(cast("Any", SimpleNamespace(secret_for=lambda _: b"s", live=False)))

    def header(name: str, read: Callable[[Headers], object]) -> Callable[[int], Work]:
        def of_size(size: int) -> Work:
            headers = Headers({name: (before + full(unit, size))[:size]})
            return lambda: read(headers)

        return of_size

    is_bounded(header("idempotency-key", key_header.optional_key), HEAD_BYTES_MAX)
    is_bounded(header("idempotency-key", key_header.optional_key), KEY_LENGTH)
    is_bounded(header("prefer", key_header.wait_s), HEAD_BYTES_MAX)
    is_bounded(header("authorization", keys.presented), HEAD_BYTES_MAX)


@pytest.mark.parametrize(
    "unit", ["&", "a=&", "%41", "limit=1&", "+", "%", "key=6 6 &", "created_after=2", "%F0%9F", ";"]
)
def test_reading_query_strings_of_any_content_is_bounded(unit: str) -> None:
    def of_size(size: int) -> Work:
        scope = {"type": "http", "headers": [], "query_string": full(unit, size).encode()}
        return lambda: lists.read_query(Request(scope), "key", "created_after")

    is_bounded(of_size, HEAD_BYTES_MAX)


@pytest.mark.parametrize("unit", UNITS)
def test_reading_times_and_urls_of_any_content_is_bounded(unit: str) -> None:
    is_bounded(of_text(unit, lambda text: times.read_time("2026-01-31T12:00:00." + text)), BODY_BYTES)
    of_url = of_text(unit, lambda text: parse_url("https://" + text, mode="test", allow_loopback=False))
    is_bounded(of_url, 2_040)


def of_text(unit: str, read: Callable[[str], object]) -> Callable[[int], Work]:
    """What is done with a text of that unit, of any length."""

    def of_size(size: int) -> Work:
        text = full(unit, size)
        return lambda: read(text)

    return of_size


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("length", [TEXT_MAX, 1_000_000])
def test_cleaning_log_values_of_any_content_is_bounded(unit: str, length: int) -> None:
    def cleaned(text: str) -> object:
        event = {
            "event": text,
            "error": text,
            "of": [text] * 100,
            "more": {str(at): {"a": text} for at in range(100)},
        }
        return redact(None, "info", event)

    is_bounded(of_text(unit, cleaned), length)


def test_cleaning_texts_that_all_hold_a_card_number_is_bounded() -> None:
    """Each is searched to its end, and nothing of it is shown."""

    def of_size(size: int) -> Work:
        text = full("6 ", size - 20) + " 4242424242424242 x"
        return lambda: redact(None, "info", {"event": "e", "of": [text] * 100})

    is_bounded(of_size, TEXT_MAX // 2)


@pytest.mark.parametrize("unit", [*UNITS, "Mon, ", "1:", "(", "Mon, 1 Jan 2020 00:00:00 "])
def test_judging_a_receivers_answer_of_any_content_is_bounded(unit: str) -> None:
    sender = cast("Any", SimpleNamespace(_secrets=lambda _: ("whsec_a", "whsec_b")))
    of_body = of_text(unit, lambda text: Sender._kept(sender, cast("Lease", None), text.encode()))
    is_bounded(of_body, BODY_BYTES_KEPT)
    is_bounded(of_text(unit, lambda text: retry_after_s(text, now=NOW)), 100_000)


ANSWER = {
    "id": "a",
    "reference": "r",
    "operation": "authorize",
    "status": "approved",
    "amount": 1,
    "currency": "INR",
}
TURN = {"id": "t", "type": "undone", "operation": "capture", "amount": 1, "currency": "INR"}


ANSWERS: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "turns": (10_000, lambda many: {"history": [{}] * many}),
    "reasons": (100, lambda many: {"history": [{**TURN, "reason": "6 " * many}] * 100}),
    "mistakes": (
        200,
        lambda many: {"history": [{**TURN, "reason": "6 " * many, "id": 1, "amount": "a"}] * 100},
    ),
    "texts": (
        512,
        lambda many: {
            "payer_vpa": "6 " * min(many, 160),
            "page": "6 " * many,
            "intent": "6 " * many,
            "id": "6 " * min(many, 64),
        },
    ),
    "a text": (30_000, lambda many: {"payer_vpa": "6 " * many}),
    "names": (4_000, lambda many: {f"{number}": number for number in range(many)}),
    "arrays": (15_000, lambda many: {"more": [[]] * many}),
    "digits": (15_000, lambda many: {"more": "٦ " * many}),
}


@pytest.mark.parametrize("of", ANSWERS)
def test_reading_an_acquirers_answer_of_any_content_is_bounded(of: str) -> None:
    most, members = ANSWERS[of]

    def raw(many: int) -> bytes:
        return json.dumps({**ANSWER, **members(many)}, ensure_ascii=False).encode()[:RESPONSE_BYTES_MAX]

    def judged(many: int) -> Work:
        answered = raw(many)
        return lambda: _is_content(answered, "json object")

    def read(many: int) -> Work:
        answer = AcquirerResponse(200, raw(many))
        return lambda: answer.read(answers.SandboxAnswer)

    is_bounded(judged, most)
    is_bounded(read, most)


def test_showing_a_path_of_any_length_is_bounded() -> None:
    is_bounded(of_text("/a", wire._shown), 100_000)


@pytest.mark.parametrize("of", ["objects", "members", "brackets in a text", "floats"])
async def test_reading_a_callback_of_any_content_is_bounded(of: str) -> None:
    desk = wire.Desk(
        ConnectorAccount(
            id="a", connector="sandbox_card", mode="test", base_url="http://127.0.0.1:1", key="k"
        )
    )
    at = int(NOW.timestamp())

    def of_size(size: int) -> Work:
        raw = json_of(of, size)
        mac = hmac.new(b"k", f"{at}.".encode() + raw, hashlib.sha256).hexdigest()
        signature = {"acquirer-signature": f"t={at},v1={mac}"}
        return lambda: desk.read_callback(signature, raw, now=NOW)

    is_bounded(of_size, BODY_BYTES)
    await desk.close()
