"""What old payments went through, drawn from a fixed seed: data only, in the words of the domain.

The same number of payments, end and merchants give the same rows. Each payment is told by the domain's own `Story`,
so its status, its events and its answer are what the product would have written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bench import fates
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    decline_error,
    encode,
    event_body,
    failed_answer,
    failure_error,
    payment_view,
    refund_view,
)
from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.events import Story
from payonce.domain.facts import Declined, FailureCode, Stage
from payonce.domain.ids import IdFactory, attempt_reference
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
    operation_of,
)
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.payment_methods import SavedState, Setup
from payonce.domain.routing import Because
from payonce.storage.idempotency import ANSWER_KEPT, LOOKED_AT_AFTER, path_of
from payonce.storage.packing import pack, pack_event, pack_method

Values = dict[str, Any]


@dataclass(slots=True)
class Life:
    """The rows of one payment, by table."""

    rows: dict[str, list[Values]] = field(default_factory=dict)

    def add(self, table: str, **values: Any) -> None:
        self.rows.setdefault(table, []).append(values)


@dataclass(frozen=True, slots=True)
class Filling:
    """So many payments of these merchants, as a rule in the year before `until`; `first_xid`: before what wrote them.

    `mode`: of most; an API whose settings are not live serves test keys only. `endpoint`: of the second merchant in
    that mode, which has had every one of its events; None: nobody has one.
    """

    payments: int
    until: datetime
    merchants: Sequence[str]
    ids: IdFactory
    first_xid: int = 1_000
    endpoint: str | None = None
    mode: str = "test"
    spread: timedelta = fates.SPREAD

    @property
    def last_xid(self) -> int:
        return self.first_xid + self.payments * fates.XIDS_EACH

    def xid(self, at: datetime) -> int:
        """Of the transaction that wrote what happened then."""
        share = 1 - (self.until - at) / self.spread
        return self.first_xid + int(share * self.payments * fates.XIDS_EACH)

    def lives(self) -> Iterator[Life]:
        """Every payment's, the oldest first."""
        random = Random(23)  # noqa: S311 - it is to be the same each time
        between = self.spread / max(self.payments, 1)
        for number in range(self.payments):
            yield _Telling(self, random, number, self.until - self.spread + between * number).life()


class _Telling:
    """One payment from its creation to whatever came last before the end."""

    def __init__(self, filling: Filling, random: Random, number: int, at: datetime) -> None:
        self._filling, self._random, self._number, self._at = filling, random, number, at
        self._life = Life()
        self._merchant = random.choices(filling.merchants, fates.SIZES[: len(filling.merchants)])[0]
        other = "live" if filling.mode == "test" else "test"
        self._mode = filling.mode if random.random() < fates.IN_MODE else other
        self._key = f"order-{number}-{random.getrandbits(48):012x}"
        self._saved = random.random() < fates.SAVED
        self._story = Story(self._payment(), at)

    def life(self) -> Life:
        (fate,) = self._random.choices(tuple(fates.FATES), tuple(fates.FATES.values()))
        if fate in ("captured_later", "voided", "expired"):
            self._story.payment = replace(self._story.payment, capture_method="manual")
        create = operation_of(
            *(self._story.payment, OperationKind.AUTHORIZE),
            id_=self._story.payment.id,
            amount_minor=self._story.payment.amount_minor,
            now=self._at,
            request_id=self._request_id(),
        )
        self._told = 0
        self._begin(create, self._key)
        self._fated(fate, create)
        self._end()
        return self._life

    def _fated(self, fate: str, create: Operation) -> None:
        match fate:
            case "declined":
                self._decline(create)
            case "abandoned":
                self._abandon(create)
            case "captured_later" | "voided" | "expired":
                self._authorize(create)
                self._go_on(fate)
            case _:
                self._authorize(create, captured=True)
                if fate != "captured":
                    self._refund(whole=fate == "refunded")

    # What happens

    def _authorize(self, create: Operation, *, captured: bool = False) -> None:
        self._wait(0.08, 1.2)
        amount, theirs = create.amount_minor, f"auth_{self._random.getrandbits(96):024x}"
        self._story.change(
            Change.AUTHORIZED,
            amount_authorized_minor=amount,
            connector_reference=theirs,
            capture_before=None if captured else self._at + timedelta(days=7),
        )
        if captured:
            self._story.change(Change.CAPTURED, amount_captured_minor=amount)
        stage = Stage.CAPTURED if captured else Stage.AUTHORIZED
        self._succeed(create, AnswerKind.PAYMENT, theirs=theirs, stage=stage)

    def _decline(self, create: Operation) -> None:
        self._wait(0.08, 1.2)
        code = self._random.choice(fates.DECLINES)
        error = decline_error(Declined(code))
        self._story.change(Change.FAILED, last_error=error)
        declined = {"code": code.value, "where": "same", "raw": {"decline_code": code.value}}
        self._fail(create, error, state=AttemptState.DECLINED, decline=declined)

    def _abandon(self, create: Operation) -> None:
        """The customer was asked to act, and did not."""
        self._wait(0.08, 1.2)
        act = {"type": "redirect", "url": f"https://acs.example/{self._number}", "expires_at": None}
        self._story.change(Change.ACTION_REQUIRED, next_action=act)
        self._wait(900, 900)
        if not self._over:
            error = failure_error(FailureCode.PAYMENT_TIMED_OUT)
            self._story.change(Change.FAILED, last_error=error, next_action=None)
            self._fail(create, error, state=AttemptState.NOT_PROCESSED)
            return
        self._attempt(create, AttemptState.WAITING, act_before=self._at + timedelta(minutes=15))
        self._put_operation(create)

    def _go_on(self, fate: str) -> None:
        """What was authorized is captured or voided days later, or nobody comes for it."""
        self._wait(3_600, 86_400) if fate != "expired" else self._wait(7 * 86_400, 7 * 86_400)
        if self._over:
            return
        kind = {"captured_later": OperationKind.CAPTURE, "voided": OperationKind.VOID}.get(
            fate, OperationKind.EXPIRE
        )
        operation = self._of_payment(kind)
        if kind is OperationKind.EXPIRE:
            self._story.change(Change.EXPIRED)
            self._succeed(replace(operation, origin=Origin.PAYONCE), None)
            return
        self._begin(operation, f"{self._key}-{kind.value}")
        self._wait(0.08, 0.9)
        if kind is OperationKind.CAPTURE:
            self._story.change(Change.CAPTURED, amount_captured_minor=operation.amount_minor)
        else:
            self._story.change(Change.VOIDED)
        self._succeed(operation, AnswerKind.PAYMENT_CHANGED)

    def _refund(self, *, whole: bool) -> None:
        self._wait(3_600, 40 * 86_400)
        if self._over:
            return
        of_it = self._story.payment.amount_minor
        refund = self._of_payment(OperationKind.REFUND, of_it if whole else max(1, of_it // 3))
        self._begin(refund, f"{self._key}-refund")
        self._wait(0.08, 0.9)
        refund = replace(refund, status=OperationStatus.SUCCEEDED, updated_at=self._at)
        self._story.now = self._at
        self._story.set(amount_refunded_minor=refund.amount_minor)
        self._story.tell("refund.succeeded", refund=refund)
        self._story.change(Change.REFUNDED if whole else Change.REFUNDED_IN_PART)
        self._succeed(refund, AnswerKind.REFUND)

    # Its rows

    def _begin(self, operation: Operation, key: str) -> None:
        self._life.add(
            "idempotency_keys",
            merchant_id=self._merchant,
            mode=self._mode,
            key=key,
            fingerprint=self._random.randbytes(32),
            operation_id=operation.id,
            location=None if path_of(operation.id) else f"/v1/payments/{operation.payment_id}",
            request_id=operation.request_id,
            created_at=self._at,
            fingerprint_version=1,
            forget_at=self._at + LOOKED_AT_AFTER,
        )

    def _answer(self, answer: Answer) -> None:
        """Of the key that came last; its body only as long as it is kept."""
        key = self._life.rows["idempotency_keys"][-1]
        kept = self._filling.until - self._at <= ANSWER_KEPT
        key |= {
            "answered_at": self._at,
            "answer_kind": answer.kind,
            "answer_body": pack(answer.body) if kept else None,
            **({} if kept else {"forget_at": None}),
        }

    def _succeed(
        self,
        operation: Operation,
        kind: AnswerKind | None,
        *,
        theirs: str | None = None,
        stage: Stage | None = None,
    ) -> None:
        self._tell()
        operation = replace(operation, status=OperationStatus.SUCCEEDED, updated_at=self._at)
        if kind is not None:
            view = refund_view(operation) if kind is AnswerKind.REFUND else payment_view(self._story.payment)
            self._answer(Answer(kind, encode(view)))
        if operation.kind is not OperationKind.EXPIRE:
            theirs = theirs or f"op_{self._random.getrandbits(80):020x}"
            operation = replace(operation, connector_reference=theirs)
            self._attempt(operation, AttemptState.APPROVED, connector_reference=theirs, stage=stage)
        self._put_operation(operation)

    def _fail(
        self, operation: Operation, error: Values, *, state: AttemptState, decline: Values | None = None
    ) -> None:
        self._tell()
        self._answer(failed_answer(self._story.payment, error, request_id=operation.request_id))
        self._attempt(operation, state, decline=decline)
        failed = replace(operation, status=OperationStatus.FAILED, last_error=error, updated_at=self._at)
        self._put_operation(failed)

    def _attempt(self, operation: Operation, state: AttemptState, **more: Any) -> None:
        apart = operation.payment_id if operation.payment_id != operation.id else None
        attempt = Attempt(
            operation_id=operation.id,
            number=1,
            payment_id=operation.payment_id,
            kind=operation.kind,
            connector=fates.ACCOUNT,
            connector_account=fates.ACCOUNT,
            reference=attempt_reference(operation.id, 1),
            state=state,
            owner="boot_growth",
            token=f"run_{self._random.getrandbits(64):016x}",
            send_before=operation.created_at + timedelta(seconds=5),
            claimed_at=operation.created_at,
            acquirer_identity="growth",
            routed_by=Because.SETTINGS.value,
            **more,
        )
        self._life.add("attempts", **_values_of(attempt) | {"reference": None, "payment_id": apart})

    def _put_operation(self, operation: Operation) -> None:
        self._life.add(
            "operations",
            **_values_of(operation),
            sweep_at=operation.created_at + timedelta(seconds=10),
            xid=self._filling.xid(operation.created_at),
        )

    def _tell(self) -> None:
        """What happened since it was told last is in events of one transaction."""
        payment, xid = self._story.payment, self._filling.xid(self._at)
        for draft in self._story.events[self._told :]:
            id_ = self._filling.ids.event(payment_id=payment.id, sequence=draft.sequence, xid=xid)
            body = event_body(
                event_id=id_, type_=draft.type, at=self._at, sequence=draft.sequence, data=draft.data
            )
            self._life.add(
                "events",
                id=id_,
                merchant_id=self._merchant,
                mode=self._mode,
                payment_id=payment.id,
                sequence=draft.sequence,
                type=draft.type,
                body=pack_event(body, id_=id_, payment_id=payment.id, created_at=self._at),
                created_at=self._at,
                xid=xid,
            )
            self._deliver(id_, draft.sequence, xid)
        self._told = len(self._story.events)

    def _deliver(self, event_id: str, sequence: int, xid: int) -> None:
        filling = self._filling
        if filling.endpoint is None or self._mode != filling.mode or self._merchant != filling.merchants[1]:
            return
        lost = self._random.random() < 0.0005
        attempt = {
            "at": self._at.isoformat(),
            "status_code": 500 if lost else 200,
            "duration_ms": 12,
            "error": None,
        }
        self._life.add(
            "webhook_deliveries",
            id=f"dlv_{event_id[-24:]}",
            event_id=event_id,
            endpoint_id=filling.endpoint,
            status="exhausted" if lost else "succeeded",
            attempts=[attempt],
            created_at=self._at,
            payment_id=self._story.payment.id,
            sequence=sequence,
            xid=xid,
        )

    def _end(self) -> None:
        """The payment as it was at the end, and what was made of it beside."""
        self._tell()
        payment = self._story.payment
        kept = {**_values_of(payment), "payment_method": pack_method(payment.payment_method)}
        self._life.add("payments", **kept, xid=self._filling.xid(payment.created_at))
        if payment.amount_authorized_minor:
            self._list(payment)
        if payment.status is PaymentStatus.CAPTURED and self._random.random() < fates.DISPUTED:
            self._dispute(payment)
        if self._saved:
            self._save(payment)

    def _list(self, payment: Payment) -> None:
        """As the acquirer lists it, two hours later, and what came of comparing it."""
        released = payment.status in (PaymentStatus.VOIDED, PaymentStatus.EXPIRED)
        captured = payment.amount_captured_minor
        seen_at = min(payment.created_at + timedelta(hours=2), self._filling.until)
        self._life.add(
            "acquirer_objects",
            account=fates.ACCOUNT,
            acquirer_id=payment.connector_reference,
            kind="authorize",
            charge_id=payment.connector_reference,
            reference=attempt_reference(payment.id, 1),
            payment_id=payment.id,
            currency=payment.currency,
            amount_minor=payment.amount_minor,
            net_minor=captured - payment.amount_refunded_minor,
            held_minor=0 if released or captured else payment.amount_minor,
            result="matched",
            created_at=payment.created_at,
            seen_at=seen_at,
        )
        about = self._filling.ids.reconciliation(account=fates.ACCOUNT, about=payment.id, found="matched")
        self._life.add(
            "reconciliations",
            id=about,
            merchant_id=self._merchant,
            mode=self._mode,
            account=fates.ACCOUNT,
            run=f"rcr_{seen_at:%Y%m%d%H}",
            result="matched",
            payment_id=payment.id,
            operation_id=payment.id,
            amount_here_minor=captured,
            amount_there_minor=captured,
            currency=payment.currency,
            acquirer_reference=payment.connector_reference,
            created_at=seen_at,
            xid=self._filling.xid(seen_at),
        )

    def _dispute(self, payment: Payment) -> None:
        statuses = (DisputeStatus.LOST, DisputeStatus.LOST, DisputeStatus.WON, DisputeStatus.UNDER_REVIEW)
        dispute = Dispute(
            id=self._filling.ids.dispute(account=fates.ACCOUNT, acquirer_id=payment.id),
            payment_id=payment.id,
            merchant_id=self._merchant,
            mode=self._mode,
            connector=fates.ACCOUNT,
            connector_account=fates.ACCOUNT,
            acquirer_id=f"dp_{payment.id[-24:]}",
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            amount_withdrawn_minor=0,
            stage="chargeback",
            status=self._random.choice(statuses),
            reason="fraudulent",
            network_reason_code=None,
            refunded_before_minor=0,
            evidence_due_by=None,
            warned_at=None,
            said_at=self._at,
            created_at=self._at,
            updated_at=self._at,
        )
        self._life.add("disputes", **_values_of(dispute), xid=self._filling.xid(self._at))

    def _save(self, payment: Payment) -> None:
        """The customer's card, which every fourth has had erased since."""
        gone = self._random.random() < 0.25
        card = payment.payment_method["card"]
        self._life.add(
            "payment_methods",
            id=self._filling.ids.saved_with(payment_id=payment.id),
            merchant_id=self._merchant,
            mode=self._mode,
            state=SavedState.DELETED if gone else SavedState.ACTIVE,
            setup=Setup.ON_SESSION,
            customer_id=f"customer-{self._random.randrange(fates.CUSTOMERS)}",
            brand=card["brand"],
            last4=card["last4"],
            exp_month=12,
            exp_year=2040,
            payment_id=payment.id,
            created_at=payment.created_at,
            updated_at=payment.created_at,
            deleted_at=payment.created_at if gone else None,
            xid=self._filling.xid(payment.created_at),
        )

    def _payment(self) -> Payment:
        """As it was created: half of them with a reference, some with more that merchants send."""
        random, number = self._random, self._number
        brand, last4 = random.choice(fates.CARDS)
        described = random.random() < 0.5
        return Payment(
            id=self._filling.ids.payment(merchant_id=self._merchant, mode=self._mode, key=self._key),
            merchant_id=self._merchant,
            mode=self._mode,
            status=PaymentStatus.INIT,
            amount_minor=random.randrange(100, 500_000),
            currency=random.choice(("INR", "INR", "EUR", "USD")),
            capture_method="automatic",
            payment_method={
                "type": "card",
                "card": {"brand": brand, "last4": last4, "exp_month": 12, "exp_year": 2040},
            },
            idempotency_key=self._key,
            connector=fates.ACCOUNT,
            connector_account=fates.ACCOUNT,
            created_at=self._at,
            updated_at=self._at,
            merchant_reference=f"order-{number}" if described else None,
            description=f"Order {number}" if described else None,
            metadata={"order": str(number)} if described else {},
        )

    def _of_payment(self, kind: OperationKind, amount_minor: int | None = None) -> Operation:
        ids, payment = self._filling.ids, self._story.payment
        derive = ids.refund if kind is OperationKind.REFUND else ids.operation
        key = f"{self._key}-{kind.value}"
        return operation_of(
            *(payment, kind),
            id_=derive(merchant_id=self._merchant, mode=self._mode, key=key),
            amount_minor=amount_minor or payment.amount_minor,
            now=self._at,
            request_id=self._request_id(),
        )

    def _request_id(self) -> str:
        return f"req_{self._random.getrandbits(96):024x}"

    @property
    def _over(self) -> bool:
        """Whether that would come after the end."""
        return self._at >= self._filling.until

    def _wait(self, least_s: float, most_s: float) -> None:
        """What happened is told; the next thing happens so much later, if the end does not come before."""
        self._tell()
        self._at += timedelta(seconds=self._random.uniform(least_s, most_s))
        self._at = self._at.replace(microsecond=self._at.microsecond // 1_000 * 1_000)
        if not self._over:
            self._story.now = self._at


def _values_of(row: Any) -> Values:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
