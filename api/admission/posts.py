"""What each kind of POST admits, in the one transaction that decides it.

A new key admits its operation: the key row, the payment or operation, the amount reservation and, for a create,
the attempt claim that this process owns. A known key replays, waits or continues; a refusal is itself the stored
answer.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from api.admission import paying, saving, used_keys
from api.admission.requests import (
    NewPayment,
    Post,
    check_current,
    check_return_origin,
    key_row,
    operation_row,
    payment_row,
    wanted,
)
from api.admission.transaction import Admitted, Decision, Taking
from api.admission.waiting import SWEEP_AFTER, Result, Unanswered, Unavailable, current_view
from payonce.connectors.base import call_of
from payonce.domain import admission as rules
from payonce.domain import risk, routing
from payonce.domain.answers import Answer, AnswerKind, problem_answer
from payonce.domain.capabilities import Rail, check_capture, check_refund, check_void
from payonce.domain.errors import InvalidRequest, NotAllowed, NotFound
from payonce.domain.ids import attempt_reference, random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.payment_methods import SavedCard
from payonce.domain.personal import PersonalData
from payonce.domain.risk import Assessment, Policy, RiskSubjects, blocked
from payonce.domain.routing import Because
from payonce.paying import note, saved_card, to_take, with_credential
from payonce.rights import Right
from payonce.risk.sandbox import TRIGGER, SandboxRisk
from payonce.runtime import Runtime
from payonce.sealing import Sealed
from payonce.storage import attempts, idempotency, outbox, payments, personal_data, risk_facts
from payonce.storage.driver.connection import Connection
from payonce.storage.idempotency import Key

Write = Callable[[Connection], Awaitable[tuple[Answer, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePost:
    """A payment, or a further attempt of one that was given back."""

    runtime: Runtime = field(repr=False)
    post: Post
    new: NewPayment
    deadline: float  # of the right to send, on the owner's clock
    assessed: bool = False  # whether its risk was asked for
    assessment: Assessment | None = None  # what was said; None: nobody answered, and nothing is admitted
    subjects: RiskSubjects | None = None  # by what it is counted, where it is
    sealed: saving.SealedOrNot = None  # the card, where the vault is to keep it

    async def prepared(self) -> "CreatePost":
        """With what a key server has to do with it, which may take a while: no transaction is open meanwhile."""
        return replace(self, sealed=await saving.seal(self.runtime, self.post.caller, self.new))

    @property
    def saves_in_vault(self) -> bool:
        return saving.in_vault(self.post.caller, self.new)

    @property
    def policy(self) -> Policy:
        """Who is asked about its risk: of the merchant, and in test mode of the payment's own metadata."""
        policy, trigger = self.post.caller.risk, self.new.metadata.get(TRIGGER)
        if self.post.caller.mode != "test" or trigger is None:
            return policy
        return replace(policy, providers=tuple(dict.fromkeys((*policy.providers, SandboxRisk.name))))

    @property
    def payment_id(self) -> str:
        """The key's own, in every process."""
        caller = self.post.caller
        return self.runtime.ids.payment(merchant_id=caller.merchant_id, mode=caller.mode, key=self.post.key)

    async def admit(self, connection: Connection, taking: Taking) -> Decision:
        """Payment, operation and claim are there, or what the key means. Raises what `used_keys.meaning` does.

        Raises `InvalidRequest` for what no account takes, a card whose month is over or that may not be saved, an
        origin that is not listed; `Unavailable` for a new key about whose payment a risk provider should have said
        something, `VaultUnavailable`, and `TooManySaved` where the merchant saves too many cards.
        """
        payment_id = self.payment_id
        key = key_row(self.post, operation_id=payment_id, location=f"/v1/payments/{payment_id}")
        if await taking.key(connection, key):
            check_current(self.new.card)  # after the key: a replay comes even when the card is over by now
            check_return_origin(self.post.caller, self.new.return_url)
            saving.check(self.runtime, self.post.caller, self.new)
            if self.policy.providers and self.assessment is None:
                raise Unavailable  # the key was this request's, and is rolled back
            if self.subjects is not None:
                caller = self.post.caller
                await risk_facts.note(connection, caller.merchant_id, caller.mode, self.subjects)
            saved = await paying.find(connection, self.post.caller, self.new)
            routed = self._route(saved)
            payment = payment_row(self.post, self.new, routed, payment_id=payment_id)
            payment = paying.with_saved(payment, self.new, saved)
            if routed.blocked:
                return await self._block(connection, payment)
            payment = await saving.put(
                connection,
                self.runtime,
                payment,
                caller=self.post.caller,
                new=self.new,
                sealed=self.sealed,
            )
            return await self._insert(connection, payment, routed.route.because, saved)
        found = await used_keys.meaning(connection, self.post)
        return await self._retry(connection, taking, found) if isinstance(found, Unanswered) else found

    def _route(self, saved: SavedCard | None) -> risk.Routed:
        accounts = self.runtime.accounts
        candidates = list(accounts.candidates(self.post.caller.merchant_id))
        return risk.route(
            self.assessment,
            self.policy.choices,
            wanted(self.post, self.new, saved),
            lambda asked: routing.choose(candidates, accounts.capabilities, asked),
            present=self.new.channel != "moto" and not self.new.off_session,
        )

    async def _block(self, connection: Connection, payment: Payment) -> Result:
        """The payment has failed before anybody heard of it, and that is the key's answer."""
        now = datetime.now(UTC)
        create = self._create(payment)
        settled = blocked(payment, create, now=now)
        await payments.insert_payment(connection, settled.payment)
        await payments.insert_operation(connection, settled.operation, sweep_at=now)
        locked = await connection.fetch(payments.locked_to_record(payment.id))
        assert locked is not None
        ids = self.runtime.ids
        await outbox.add_events(connection, settled.payment, settled.events, ids=ids, xid=locked.xid, now=now)
        assert settled.answer is not None
        await idempotency.store_answer(
            connection,
            operation_id=create.id,
            merchant_id=payment.merchant_id,
            mode=payment.mode,
            answer=settled.answer,
            now=now,
        )
        return Result(
            answer=settled.answer, current=None, location=f"/v1/payments/{payment.id}", replayed=False
        )

    def _create(self, payment: Payment) -> Operation:
        return operation_row(
            self.post,
            payment,
            id_=payment.id,
            kind=OperationKind.AUTHORIZE,
            amount_minor=payment.amount_minor,
        )

    async def _insert(
        self, connection: Connection, payment: Payment, because: Because, saved: SavedCard | None
    ) -> Admitted:
        operation = self._create(payment)
        await payments.insert_payment(connection, payment, self._sealed(payment.id))
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        right = await self._claim(connection, payment, operation, number=1, because=because, saved=saved)
        return Admitted(payment, operation, right)

    async def _retry(self, connection: Connection, taking: Taking, pending: Unanswered) -> Decision:
        """A create that was given back goes on with attempt N + 1, owned here, with this request's card."""
        payment = await connection.fetch(payments.locked(pending.operation.payment_id))
        operation = await connection.fetch(payments.operation_by_id(pending.operation.id))
        latest = await connection.fetch(attempts.latest(pending.operation.id))
        if payment is None or operation is None or latest is None:
            raise NotFound(pending.operation.id)
        given_back = latest.state is AttemptState.NOT_SENT and payment.status is PaymentStatus.INIT
        if not given_back or operation.status is not OperationStatus.PENDING:
            return replace(pending, current=current_view(payment, operation))
        if payment.handed_in and self.new.authentication is None:
            raise InvalidRequest(
                "The first request with this key had an authentication, which is not kept.",
                pointer="/authentication",
                code="data_required",
            )
        taking.held = True
        payment = await self._shown_anew(connection, payment)
        saved = await saved_card(connection, payment)
        right = await self._claim(connection, payment, operation, number=latest.number + 1, saved=saved)
        return Admitted(payment, operation, right, retried=True)

    async def _shown_anew(self, connection: Connection, payment: Payment) -> Payment:
        """With the card of this request's wallet token, which may be another one: it is the one that is charged."""
        if self.new.network_token is None:
            return payment
        shown = replace(payment, payment_method=self.new.payment_method)
        await payments.save_payment(connection, payment, shown)
        return shown

    async def _claim(
        self,
        connection: Connection,
        payment: Payment,
        operation: Operation,
        *,
        number: int,
        saved: SavedCard | None,
        because: Because = Because.PAYMENT,
    ) -> Right:
        """The right that the claim gives once its COMMIT is proven."""
        token = random_id("run")
        await attempts.insert_claim(
            connection,
            operation,
            number=number,
            connector=payment.connector,
            connector_account=payment.connector_account,
            owner=self.runtime.rights.owner,
            token=token,
            routed_by=because,
            acquirer_identity=self.runtime.accounts.identities.get(payment.connector_account),
        )
        reference = attempt_reference(operation.id, number)
        may_ask = self.runtime.accounts.capabilities[payment.connector_account].needs_action
        pages = self.runtime.return_pages
        call = call_of(
            payment,
            operation,
            reference=reference,
            personal=await self._personal_data(connection, payment.id, number=number),
            issuer_country=self.runtime.issuers.country_of(self.new.card, mode=payment.mode),
            return_url=pages.address(reference=reference, claim=token) if may_ask else None,
        )
        call = replace(
            call,
            card=self.new.card,
            network_token=self.new.network_token,
            authentication=self.new.authentication if payment.handed_in else None,
        )
        cvc = self.new.cvc if payment.stored is not None and payment.stored.in_memory else None
        call, takes = with_credential(call, payment, saved), to_take(payment, saved, cvc=cvc)
        await note(connection, takes, call, by=self.post.actor)
        return Right(call, number, token, payment.connector_account, self.deadline, takes=takes)

    def _sealed(self, payment_id: str) -> Sealed | None:
        """The personal data as it is stored for runs of other processes, where those may have to send it."""
        if not self.new.personal_is_stored:
            return None
        return personal_data.seal(self.runtime.sealer, self.new.personal, payment_id=payment_id)

    async def _personal_data(self, connection: Connection, payment_id: str, *, number: int) -> PersonalData:
        """What was stored of the first request counts, as for any run; else what this request says."""
        if number == 1 or not self.new.personal_is_stored:
            return self.new.personal
        return await personal_data.find(connection, self.runtime.sealer, payment_id=payment_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePost(ABC):
    """A capture, void or refund of a payment, decided under its row lock."""

    runtime: Runtime = field(repr=False)
    post: Post
    payment_id: str

    async def admit(self, connection: Connection, taking: Taking) -> Decision:
        """The operation is there and reserved, or refused for ever, or what the key means.

        Raises `NotFound`, `InvalidRequest`, `OperationInProgress`, and what `used_keys.meaning` does.
        """
        key = key_row(self.post, operation_id=self._operation_id, location=self._location)
        if not await taking.key(connection, key):
            return await used_keys.meaning(connection, self.post)
        payment = await connection.fetch(payments.locked(self.payment_id))
        caller = self.post.caller
        if payment is None or (payment.merchant_id, payment.mode) != (caller.merchant_id, caller.mode):
            raise NotFound(f"There is no payment {self.payment_id}.")
        try:
            return Admitted(payment, await self._reserve(connection, payment))
        except NotAllowed as refused:
            return await self._refuse(connection, key, refused)

    async def _reserve(self, connection: Connection, payment: Payment) -> Operation:
        operation = await self._permitted(connection, payment)
        await payments.save_payment(connection, payment, rules.reserved(payment, operation))
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        return operation

    async def _refuse(self, connection: Connection, key: Key, refused: NotAllowed) -> Result:
        """The refusal is the key's answer."""
        answer = problem_answer(
            AnswerKind(refused.refusal), detail=refused.message, request_id=self.post.request_id
        )
        location = f"/v1/payments/{self.payment_id}"
        await idempotency.answer_key(connection, key, answer=answer, location=location)
        return Result(answer=answer, current=None, location=location, replayed=False)

    @abstractmethod
    async def _permitted(self, connection: Connection, payment: Payment) -> Operation:
        """The operation, which the payment's state and amounts allow. Raises `NotAllowed` and as `admit`."""

    async def _rail(self, connection: Connection, payment: Payment) -> Rail | None:
        """What the payment's account can do; None where there is no such account any more."""
        # The API's role sees no accounts: what is not remembered is read by the engine.
        on = None if connection.of_api else connection
        found = await self.runtime.accounts.find(payment.connector_account, on)
        return None if found is None else found.capabilities

    def _operation(self, payment: Payment, kind: OperationKind, amount_minor: int) -> Operation:
        return operation_row(self.post, payment, id_=self._operation_id, kind=kind, amount_minor=amount_minor)

    @property
    def _operation_id(self) -> str:
        caller = self.post.caller
        return self.runtime.ids.operation(merchant_id=caller.merchant_id, mode=caller.mode, key=self.post.key)

    @property
    def _location(self) -> str:
        return f"/v1/payments/{self.payment_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePost(ChangePost):
    """All that is capturable, or part of it; `final` releases the rest."""

    amount_minor: int | None
    final: bool

    async def _permitted(self, connection: Connection, payment: Payment) -> Operation:
        amount = rules.admit_capture(payment, amount_minor=self.amount_minor, now=datetime.now(UTC))
        check_capture(await self._rail(connection, payment), payment, amount_minor=amount, final=self.final)
        return replace(self._operation(payment, OperationKind.CAPTURE, amount), final=self.final)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidPost(ChangePost):
    """What is authorized and not captured, or what its customer has not decided: then nothing is sent for it."""

    reason: str | None

    async def _permitted(self, connection: Connection, payment: Payment) -> Operation:
        create = await self._undecided(connection, payment)
        amount = rules.admit_void(payment, asked=create is not None and create.asked)
        check_void(await self._rail(connection, payment), payment)
        if create is not None:
            await attempts.abandon(connection, create)
        return replace(self._operation(payment, OperationKind.VOID, amount), final=True, reason=self.reason)

    async def _undecided(self, connection: Connection, payment: Payment) -> Attempt | None:
        """The latest attempt of an authorization that has no outcome."""
        return await connection.fetch(attempts.latest(payment.id)) if payment.status.undecided else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPost(ChangePost):
    """All that is refundable, or part of it."""

    amount_minor: int | None
    reason: str | None
    metadata: Mapping[str, str]

    async def _permitted(self, connection: Connection, payment: Payment) -> Operation:
        amount = rules.admit_refund(payment, amount_minor=self.amount_minor)
        check_refund(await self._rail(connection, payment), payment, amount_minor=amount)
        refund = self._operation(payment, OperationKind.REFUND, amount)
        return replace(refund, reason=self.reason, metadata=self.metadata)

    @property
    def _operation_id(self) -> str:
        caller = self.post.caller
        return self.runtime.ids.refund(merchant_id=caller.merchant_id, mode=caller.mode, key=self.post.key)

    @property
    def _location(self) -> str:
        return f"/v1/refunds/{self._operation_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingPost:
    """A creation that only writes: `write` returns the answer and the path of the object."""

    post: Post
    write: Write

    async def admit(self, connection: Connection, taking: Taking) -> Decision:
        """The object is there, and its answer; or what the key means."""
        key = key_row(self.post, operation_id=None, location="")
        if not await taking.key(connection, key):
            return await used_keys.meaning(connection, self.post)
        answer, location = await self.write(connection)
        await idempotency.answer_key(connection, key, answer=answer, location=location)
        return Result(answer=answer, current=None, location=location, replayed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostWithoutPlace:
    """Any POST while there is no place for it: what became of its key, if that was used before."""

    post: Post

    async def admit(self, connection: Connection, _taking: Taking) -> Decision:
        """Nothing is admitted. Raises what `used_keys.meaning_without_place` does."""
        return await used_keys.meaning_without_place(connection, self.post)
