"""An admission that decides as told, and remembers what it was asked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api.admission.admission import Admission
from api.admission.requests import NewPayment, Post, check_current
from api.admission.waiting import Result
from payonce.domain.answers import Answer, AnswerKind, encode, payment_view
from payonce.domain.errors import IdempotencyMismatch
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage.driver.connection import Connection

NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}


AUTHENTICATION = {
    "version": "2.2.0",
    "trans_status": "Y",
    "eci": "05",
    "cavv": "3q2+78r+ur7erb7vyv66vv////8=",
    "ds_transaction_id": "f25084f0-5b16-4c0a-ae5d-b24808a95e4b",
}


def payment_body(**changes: Any) -> dict[str, Any]:
    """The body of a create that is valid; `changes` replace members."""
    body = {"amount": 1099, "currency": "INR", "payment_method": {"type": "card", "card": CARD}}
    return {**body, **changes}


def card_method(**changes: Any) -> dict[str, Any]:
    return {"type": "card", "card": {**CARD, **changes}}


def a_payment(**changes: Any) -> Payment:
    """A payment as the domain has it."""
    fields: dict[str, Any] = {
        "id": "pay_a1",
        "merchant_id": "mer_1",
        "mode": "test",
        "status": PaymentStatus.AUTHORIZED,
        "amount_minor": 1099,
        "currency": "INR",
        "capture_method": "manual",
        "payment_method": {
            "type": "card",
            "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040},
        },
        "idempotency_key": "k",
        "connector": "sandbox_card",
        "connector_account": "sandbox_card",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Payment(**{**fields, **changes})


@dataclass
class FakeAdmission:
    """Answers a new key with `answer`, `current` or by raising `error`; a known key as the contract says."""

    answer: Answer | None = field(
        default_factory=lambda: Answer(AnswerKind.PAYMENT, encode(payment_view(a_payment())))
    )
    current: bytes | None = None
    error: Exception | None = None
    location: str = "/v1/payments/pay_a1"
    real: Admission | None = None  # for what only writes
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    _answered: dict[tuple[str, str, str], tuple[bytes, Result]] = field(default_factory=dict)

    async def create_payment(self, post: Post, payment: NewPayment) -> Result:
        check_current(payment.card)
        return self._decide(post, "create", payment)

    async def capture(self, post: Post, payment_id: str, *, amount_minor: int | None, final: bool) -> Result:
        return self._decide(post, "capture", payment_id, amount_minor, final)

    async def void(self, post: Post, payment_id: str, *, reason: str | None) -> Result:
        return self._decide(post, "void", payment_id, reason)

    async def refund(
        self,
        post: Post,
        payment_id: str,
        *,
        amount_minor: int | None,
        reason: str | None,
        metadata: Mapping[str, str],
    ) -> Result:
        return self._decide(post, "refund", payment_id, amount_minor, reason, metadata)

    async def accept_dispute(self, post: Post, dispute_id: str) -> Result:
        return self._decide(post, "accept", dispute_id)

    async def execute_once(
        self, post: Post, work: Callable[[Connection], Awaitable[tuple[Answer, str]]]
    ) -> Result:
        assert self.real is not None
        return await self.real.execute_once(post, work)

    def _decide(self, post: Post, *what: Any) -> Result:
        scope = (post.caller.merchant_id, post.caller.mode, post.key)
        if scope in self._answered:
            fingerprint, result = self._answered[scope]
            if fingerprint != post.fingerprint:
                raise IdempotencyMismatch
            return Result(answer=result.answer, current=None, location=result.location, replayed=True)
        self.calls.append((post, *what))
        if self.error is not None:
            raise self.error
        result = Result(answer=self.answer, current=self.current, location=self.location, replayed=False)
        if self.answer is not None:
            self._answered[scope] = (post.fingerprint, result)
        return result

    @property
    def last(self) -> tuple[Any, ...]:
        """The last call that was not a replay: the post, the operation and its arguments."""
        return self.calls[-1]
