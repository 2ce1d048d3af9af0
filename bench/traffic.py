"""What merchants send: the kinds of requests, their bytes, and what an answer leads to."""

import json
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from bench.wire import Reply

APPROVED, DECLINED = "4242424242424242", "4000000000000002"
STOCK_MAX = 20_000
REFUNDED_MINOR = 1
_ID_BEGIN = b'{"id":"'


class Kind(StrEnum):
    """`CAPTURE` is not drawn: each `MANUAL` that was authorized is captured at once."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    CAPTURE = "capture"
    REFUND = "refund"
    DECLINED = "declined"
    REPLAY = "replay"


EXPECTED: Mapping[Kind, int] = {
    Kind.AUTOMATIC: 201,
    Kind.MANUAL: 201,
    Kind.CAPTURE: 200,
    Kind.REFUND: 201,
    Kind.DECLINED: 402,
    Kind.REPLAY: 201,
}
ACQUIRER_CALLS: Mapping[Kind, int] = {kind: int(kind is not Kind.REPLAY) for kind in Kind}


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, ready to be written."""

    kind: Kind
    content: bytes
    payment_id: bytes = b""

    def is_expected(self, reply: Reply) -> bool:
        """Whether the reply is the definite answer to this kind of request."""
        if reply.status != EXPECTED[self.kind]:
            return False
        return self.kind is not Kind.REPLAY or b"\r\nidempotent-replayed: true" in reply.head


class Shop:
    """A merchant's program: fresh keys, and a memory of what it may refund and send again."""

    def __init__(self, *, host: str, api_key: str = "none") -> None:
        self._lines = f"Host: {host}\r\nAuthorization: Bearer {api_key}\r\n".encode()
        self._run = secrets.token_hex(6) + "x"  # so that a number behind it makes up no card number
        self._numbers = count()
        self._refundable: deque[bytes] = deque(maxlen=STOCK_MAX)
        self._answered: deque[bytes] = deque(maxlen=STOCK_MAX)
        self._bodies = {
            Kind.AUTOMATIC: order_body(APPROVED, "automatic"),
            Kind.MANUAL: order_body(APPROVED, "manual"),
            Kind.DECLINED: order_body(DECLINED, "automatic"),
        }

    def request(self, kind: Kind) -> Request:
        """A request of this kind; of what can be refunded or sent again there is as much as `stocked` says.

        Raises `IndexError` when nothing of that kind is left.
        """
        match kind:
            case Kind.REFUND:
                return self._refund(self._refundable.popleft())
            case Kind.REPLAY:
                content = self._answered.popleft()
                self._answered.append(content)
                return Request(kind, content)
            case Kind.CAPTURE:
                raise ValueError("a capture follows its authorization")
            case _:
                return Request(kind, self._post(b"/v1/payments", self._bodies[kind]))

    def answered(self, request: Request, reply: Reply) -> Request | None:
        """What the expected answer leads to: a capture, or nothing but the memory of it."""
        match request.kind:
            case Kind.AUTOMATIC:
                self._refundable.append(id_of(reply))
                self._answered.append(request.content)
            case Kind.MANUAL:
                payment_id = id_of(reply)
                path = b"/v1/payments/" + payment_id + b"/capture"
                return Request(Kind.CAPTURE, self._post(path, b"{}"), payment_id)
            case Kind.CAPTURE:
                self._refundable.append(request.payment_id)
        return None

    def stocked(self, kind: Kind) -> int:
        """How many requests of this kind are possible now; those that need nothing are without limit."""
        match kind:
            case Kind.REFUND:
                return len(self._refundable)
            case Kind.REPLAY:
                return STOCK_MAX if self._answered else 0
            case _:
                return STOCK_MAX

    def _refund(self, payment_id: bytes) -> Request:
        body = json.dumps({"amount": REFUNDED_MINOR}).encode()
        return Request(Kind.REFUND, self._post(b"/v1/payments/" + payment_id + b"/refunds", body), payment_id)

    def _post(self, path: bytes, body: bytes) -> bytes:
        return (
            b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nIdempotency-Key: bench-%b-%d\r\n"
            b"Content-Length: %d\r\n\r\n%b"
        ) % (path, self._lines, self._run.encode(), next(self._numbers), len(body), body)


def id_of(reply: Reply) -> bytes:
    """The id of the object in the answer, which is its first member. Raises `ValueError`."""
    if not reply.body.startswith(_ID_BEGIN):
        raise ValueError("the answer does not begin with an id")
    return reply.body[len(_ID_BEGIN) : reply.body.index(b'"', len(_ID_BEGIN))]


def order_body(number: str, capture_method: str) -> bytes:
    """The body of a payment by this card."""
    card = {"number": number, "exp_month": 12, "exp_year": 2035, "cvc": "123"}
    method = {"type": "card", "card": card}
    order = {"amount": 1099, "currency": "INR", "capture_method": capture_method, "payment_method": method}
    return json.dumps({**order, "merchant_reference": "bench"}).encode()
