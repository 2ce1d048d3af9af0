"""The contract of a connector.

A connector is a stateless mapping: our request in, a `Reply` out, or one of the four `ConnectorError`s. It never
retries, never guesses (an unmapped status is `Pending`), and knows no other connector. What differs between
acquirers is data in `Capabilities`, so that workflows and activities never ask which connector they have.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, Protocol

from payonce.domain.capabilities import ANY_AMOUNT, Amounts, Required
from payonce.domain.cards import Card, NetworkToken
from payonce.domain.disputes import Dispute
from payonce.domain.facts import (
    Cancellation,
    Disputed,
    FraudWarned,
    Inquiry,
    Reply,
    Reversed,
    Told,
)
from payonce.domain.operations import Abilities, Attempt, Operation, OperationKind
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import CredentialKind, NetworkTransaction, Setup, StoredCredential
from payonce.domain.personal import NOTHING_PERSONAL, Browser, Channel, Customer, Party, PersonalData
from payonce.domain.routing import ConnectorAccount as ConnectorAccount  # part of this contract
from payonce.domain.sca import HandedIn, Sca, passed_on
from payonce.domain.schedules import CUSTOMER_INQUIRIES, InquirySchedule
from payonce.domain.truth import Truth

CALLBACK_WITHIN_S: Final = 24 * 3600.0
"""Where a connector does not say how long its callbacks may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an acquirer can do, as data."""

    methods: frozenset[str]  # "card", "upi.intent", "upi.qr", "upi.collect", "wallet.paytm", …
    call_deadline_s: float  # over connect, write and read of one call; at most 20
    finality_s: float  # how long after a call's deadline NOT_FOUND may still turn into FOUND
    inquiry: InquirySchedule
    reversal_by_reference: bool  # undoes, and blocks, what is known only by our reference
    reverses: frozenset[OperationKind] = frozenset(OperationKind)  # of which operations, where that holds
    # Who says what became of an operation, by its kind; of one that is not named: the acquirer, when it is asked.
    truth: Mapping[OperationKind, Truth] = field(default_factory=dict)
    idempotent_replay_s: float = 0.0  # how long the same reference is answered as at first; 0: never
    # Which captures, voids and refunds are sent again under the same key where an inquiry does not find them. That
    # proves nothing then, for ever: what the replay does not settle is for a person.
    replays_not_found: frozenset[OperationKind] = frozenset()
    # How long its callback may take, by kind, where that carries the fact: then a person is called.
    callback_within_s: Mapping[OperationKind, float] = field(default_factory=dict)
    expiry_is_sent: bool = False  # whether an expired authorization must be voided at the acquirer
    currencies: frozenset[str] | None = None  # None: every currency
    brands: frozenset[str] | None = None  # of cards; None: every brand
    amounts: Amounts = ANY_AMOUNT
    required: tuple[
        Required, ...
    ] = ()  # members of the create, without which it is refused with `data_required`
    capture_methods: frozenset[str] = frozenset({"automatic", "manual"})
    at_once: frozenset[str] = frozenset()  # methods that are captured with their authorization only
    partial_capture: bool = True  # whether less than is authorized may be captured
    split_capture: bool = True  # whether an authorization may be captured in several parts
    void: bool = True  # whether what is authorized can be released
    partial_refund: bool = True  # whether less than was captured may be refunded
    captures_itself: bool = False  # whether an automatic payment found authorized needs no capture of ours
    needs_action: bool = False  # whether an authorization may answer `ActionRequired`
    three_ds: frozenset[str] = frozenset()  # who may authenticate a cardholder: "acquirer", "merchant"
    exemptions: frozenset[str] = frozenset()  # which a merchant may ask for
    # Who asks again with a challenge, where the issuer wants one: the acquirer, of itself, or an attempt of ours.
    soft_decline: Literal["itself", "resend"] = "itself"
    return_parameters: frozenset[str] = frozenset()  # what is kept of what a browser brings back, by name
    # Whether nothing moves before our second leg; else a customer may have paid, and it only reads what they did.
    legs_move_money: bool = True
    replays_legs: bool = False  # whether a leg that was lost may be sent again, with the same key
    # Who ends what a customer has left alone: `cancel` of ours when their time is over, or the acquirer itself.
    challenge_ends: Literal["cancelled", "itself"] = "itself"
    action_inquiry: InquirySchedule = CUSTOMER_INQUIRIES  # while the customer may act
    # While it has accepted an operation, until it says what became of it; None: as `inquiry`.
    accepted_inquiry: InquirySchedule | None = None
    # After the rail's `Expired`, which it may take back; None: never.
    late_inquiry: InquirySchedule | None = None
    callbacks: bool = False  # whether it tells us what happened: see `Calling`
    # Who says what a cardholder's bank disputes: inquiries (`Approved.disputes`), or callbacks; None: nobody does.
    disputes: Truth | None = None
    accepts_disputes: bool = (
        False  # whether it takes our acceptance of one, and says afterwards how it stands
    )
    data_in_memory: bool = True  # whether an authorization needs what only the process that received it has
    # By what a saved card is paid with there: "number" (the vault's, said to be a saved one), "token" (one of its
    # own, which it gives for a card that it is asked to save).
    stored_credentials: frozenset[str] = frozenset()
    mandates: bool = False  # whether it takes merchant-initiated payments with cards issued in India

    def in_memory(self, payment: Payment) -> bool:
        """Whether the payment's authorization needs what only the process has that received it.

        With a saved card that is a fact of the payment, whatever the account needs of others.
        """
        if payment.handed_in:
            return True
        stored = payment.stored
        return self.data_in_memory if stored is None or stored.saves else stored.in_memory

    def reversible(self, kind: OperationKind) -> bool:
        """Whether an operation of this kind is undone, and blocked, by our reference."""
        undoes = self.reversal_by_reference and kind in self.reverses
        return undoes and kind is not OperationKind.ACCEPT  # which is for good

    def truth_of(self, kind: OperationKind) -> Truth:
        """Who says what became of an operation that is sent as this kind."""
        return self.truth.get(_sent_kind(kind), Truth.INQUIRY)

    def replayed_not_found(self, kind: OperationKind) -> bool:
        """Whether what is sent as this kind, and is not found, is sent again under the same key."""
        return _sent_kind(kind) in self.replays_not_found

    @property
    def callbacks_carry_facts(self) -> bool:
        """Whether what a callback carries may count, of any kind."""
        return any(truth.is_told for truth in self.truth.values())

    def carried(self, fact: Told) -> bool:
        """Whether such a fact counts where a callback carries it. A bank's suspicion always does: nothing moves."""
        if isinstance(fact, FraudWarned):
            return True
        of_disputes = self.disputes is not None and self.disputes.is_told
        return of_disputes if isinstance(fact, Disputed) else self.callbacks_carry_facts

    def callback_due_s(self, kind: OperationKind) -> float:
        """How long the callback of an operation that is sent as this kind may take."""
        return self.callback_within_s.get(_sent_kind(kind), CALLBACK_WITHIN_S)

    def abilities(self, kind: OperationKind) -> Abilities:
        """What of it the books depend on, for an operation of this kind."""
        return Abilities(reversible=self.reversible(kind), captures_itself=self.captures_itself)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request for one attempt: what every operation needs."""

    kind: OperationKind
    reference: str  # ours, unique for ever
    payment_id: str
    amount_minor: int
    currency: str
    final: bool = True  # of a capture: sent on only where the acquirer needs to be told
    automatic_capture: bool = False
    authorization_reference: str | None = None  # the acquirer's, of the authorization
    dispute: str | None = None  # the acquirer's id of it, of an acceptance
    attempt_reference: str | None = None  # the acquirer's, of this very attempt, once it is known
    since: datetime | None = None  # no attempt of the operation is older
    claimed_at: datetime | None = (
        None  # of an inquiry or a reversal: when the attempt was claimed, or `since`
    )
    approved: bool = False  # of an inquiry: whether the acquirer approved it before, as far as is recorded
    asked: bool = False  # of an inquiry: whether its customer was sent to the acquirer's page
    card: Card | None = field(default=None, repr=False)
    network_token: NetworkToken | None = field(default=None, repr=False)
    payment_method: Mapping[str, Any] = field(default_factory=dict)  # as the API shows it
    return_url: str | None = None  # our page, to which the customer's browser comes back
    metadata: Mapping[str, str] = field(default_factory=dict)  # the payment's
    operation_metadata: Mapping[str, str] = field(default_factory=dict)  # the refund's
    operation_id: str = ""
    description: str | None = field(default=None, repr=False)
    statement_descriptor: str | None = (
        None  # at most 22 characters; what an acquirer takes of them is its own
    )
    channel: Channel | None = None
    customer: Customer | None = None
    billing: Party | None = (
        None  # this and the next two: of an authorization that is sent, and of nothing else
    )
    shipping: Party | None = None
    browser: Browser | None = None
    sca: Sca | None = None
    authentication: HandedIn | None = field(default=None, repr=False)
    stored: StoredCredential | None = None  # of an authorization: what it has to do with a saved card
    token: Mapping[str, str] | None = field(default=None, repr=False)  # the account's own, to pay with
    network_transaction: NetworkTransaction | None = None  # to say with a saved card's number

    @property
    def unattended(self) -> bool:
        """Whether the merchant asks for the money with a saved card, and nobody is there to act."""
        return self.stored is not None and self.stored.by_merchant

    @property
    def keeps(self) -> Setup | None:
        """For what the acquirer is to keep the card that comes with it, as a token of its own; None: it is not."""
        stored = self.stored
        if stored is None or not stored.saves or stored.credential is not CredentialKind.OF_ACQUIRER:
            return None
        return stored.setup


class MaySend(Protocol):
    """The right to send one call that moves money, once, while it lasts."""

    def __call__(self) -> bool:
        """Whether it holds. This uses it up: asked once, right before the first byte of the money call."""
        ...

    def left_s(self) -> float:
        """Seconds for which it still holds; 0 where it does not, or is used up. Asked before other calls."""
        ...

    def held_s(self) -> float:
        """Seconds since the claim: a whole `send` ends 20 s after it."""
        ...


@dataclass(frozen=True, slots=True)
class Callback:
    """What an acquirer told us, verified.

    Its fact counts where the capabilities say that callbacks carry the truth of that kind of operation. Elsewhere
    only its reference does: we ask before we believe.
    """

    # The acquirer's, where it signs it, the same whenever it tells this again; else a hash of the body (`body_id`).
    event_id: str
    reference: str  # ours
    # Read from signed members only. Evidence may be of others, and says so (`Evidence.signed`).
    fact: Told | None = None
    beside: "tuple[Callback, ...]" = ()  # what the same message says besides, each with an identity of its own


def body_id(body: bytes) -> str:
    """The identity of a callback whose acquirer signs no id of the event."""
    return hashlib.sha256(body).hexdigest()


class Connector(Protocol):
    """One acquirer at one account. A `send` moves money by one call; every method may be cancelled."""

    name: str
    capabilities: Capabilities

    def __init__(self, account: ConnectorAccount) -> None:
        """Opens nothing; connections are made on first use and closed by `close`."""

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference, or accepts a dispute.

        `may_send` is looked at right before the first byte; when it says no, nothing is sent and `NotSent` is
        raised. Raises `NotSent` (connect, DNS, TLS, pool wait), `OutcomeUnknown` (time-out, reset, 5xx, garbage),
        `Rejected` or `RateLimited` (both documented by the acquirer: nothing was processed). Data that it will never
        take is an answer: `Refused`, where it documents that nothing was processed.

        An acceptance is approved where its dispute is accepted, or lost, by now, whoever gave in: `Approved.dispute`
        says how it stands. It is declined where that was decided otherwise; to an inquiry, while the dispute waits
        for somebody, it is not known.

        Where the truth of the call's kind is `replay`, the same call is sent again with the same key and body, and
        is answered as it was at first.
        """
        ...

    async def inquire(self, call: Call) -> Inquiry:
        """What became of the attempt with our reference. Raises the `ConnectorError`s; moves nothing."""
        ...

    async def reverse(self, call: Call) -> Reversed:
        """Undoes whatever our reference did and blocks its late arrival. Safe to repeat.

        Raises the `ConnectorError`s; only called where `capabilities.reversible` holds of the call's kind.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class Asking(Protocol):
    """What a connector with `capabilities.needs_action` has besides."""

    async def cancel(self, call: Call) -> Cancellation:
        """The customer can no longer pay what was asked for under our reference. Safe to repeat.

        What was decided before is not undone: it is the answer, as an inquiry would give it. Raises the
        `ConnectorError`s.
        """
        ...


class TwoLegged(Protocol):
    """What a connector has besides whose `ActionRequired` says `completes: resume`."""

    async def resume(
        self, call: Call, parameters: Mapping[str, str], *, leg: int, may_send: MaySend
    ) -> Reply:
        """The second leg of an attempt whose customer came back with these parameters: it may move money, once.

        Each leg of an attempt, by its number, has a key of its own, which stays the same when it is sent again.
        `may_send` as in `send`. Raises `LegInvalid` where the acquirer documents that the parameters are not good
        and that nothing was processed, and `NotSent`, `OutcomeUnknown`, `RateLimited` as `send` does; whatever says
        that it is processed already, or in progress, is `OutcomeUnknown`. So is `Rejected` to whoever called: what
        the acquirer took with the same credentials may have been processed.
        """
        ...


@dataclass(frozen=True, slots=True)
class SecretField:
    """A secret that an account of a connector needs."""

    name: str  # as in `ConnectorAccount.secrets`
    says: str  # what it is called at the acquirer
    verifies_callbacks: bool = False  # then an earlier generation is read for 15 days more
    required: bool = True


@dataclass(frozen=True, slots=True)
class OptionField:
    """An option of an account that a person may set."""

    name: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountForm:
    """What `payonce accounts add` asks for."""

    secrets: tuple[SecretField, ...]
    options: tuple[OptionField, ...] = ()  # besides `callback_url`, which every connector has
    base_url: str | None = None  # the acquirer's; None: it must be said
    # A signed callback says whose it is: accounts in the settings, which have one address, may share what verifies.
    callbacks_say_whose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the acquirer says that an account's secrets belong to."""

    id: str  # the acquirer's, the same for ever: other secrets of the same account have it too
    mode: Literal["test", "live"]
    notes: tuple[str, ...] = ()  # what is not as it should be, a sentence each: a missing permission


class Identifying(Protocol):
    """What a connector has whose accounts are stored (`payonce accounts add`).

    Its class has `account_form`; a secret that is not required and not given is empty (`account.secret(name)`).
    """

    account_form: ClassVar[AccountForm]

    async def identify(self) -> Identity:
        """Asks the acquirer who we are; moves nothing.

        Raises `Rejected` with a sentence that a person can act on (a wrong key, a missing permission), or another of
        the `ConnectorError`s where the acquirer cannot be asked. No message holds a secret.
        """
        ...


class Calling(Protocol):
    """What a connector with `capabilities.callbacks` has besides."""

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, signed by this account's acquirer not long before `now`. Names of headers are lower-case.

        Checks the signature over the raw bytes in constant time before it looks into them. With the fact where it
        carries one. Raises `CallbackInvalid`, also for a signed member that could be read in two ways.
        """
        ...


class Locating(Protocol):
    """What a connector has besides whose callbacks may be about an object that does not have our reference."""

    async def locate(self, reference: str) -> str | None:
        """Our reference of the attempt that the acquirer's object of this name is about; None: of none of ours.

        Asks the acquirer about such a name alone, and answers None to every other. Raises the `ConnectorError`s
        where it may answer later.
        """
        ...


class Storing(Protocol):
    """What a connector has besides whose approvals may carry a token of their own for the card (`Approved.token`)."""

    async def delete_token(self, token: Mapping[str, str]) -> None:
        """The acquirer confirmed that nobody pays with the token any more; one that it does not know is gone.

        Safe to repeat. Raises the `ConnectorError`s.
        """
        ...


def call_of(
    payment: Payment,
    operation: Operation,
    *,
    reference: str,
    target: Attempt | None = None,
    dispute: Dispute | None = None,
    personal: PersonalData = NOTHING_PERSONAL,
    issuer_country: str | None = None,
    return_url: str | None = None,
) -> Call:
    """What an acquirer needs to know of a new attempt; an authorization's card is not in Postgres.

    `target`: the attempt that a void or refund of our own releases. `dispute`: that is accepted. `personal`,
    `issuer_country`: of an authorization that is sent.
    `return_url`: of our return page, where the account may send the customer away; never the merchant's.
    """
    kind = operation.sent_as or operation.kind
    authorizes = operation.kind is OperationKind.AUTHORIZE
    return Call(
        kind=OperationKind.VOID if kind is OperationKind.EXPIRE else kind,
        reference=reference,
        payment_id=payment.id,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        final=operation.final,
        automatic_capture=payment.automatic,
        authorization_reference=None if authorizes else _authorization(payment, target),
        dispute=None if dispute is None else dispute.acquirer_id,
        metadata=payment.metadata,
        operation_metadata=operation.metadata,
        operation_id=operation.id,
        since=operation.created_at,
        payment_method=payment.payment_method,
        return_url=return_url,
        description=payment.description,
        statement_descriptor=payment.statement_descriptor,
        channel=payment.channel,
        customer=None if payment.customer is None else Customer.of(payment.customer),
        billing=personal.billing,
        shipping=personal.shipping,
        browser=personal.browser,
        sca=_sca(payment, issuer_country) if authorizes else None,
        stored=payment.stored if authorizes else None,
    )


def _sent_kind(kind: OperationKind) -> OperationKind:
    """As what an acquirer gets an operation of this kind.

    A reversal of ours that is sent is a void or a refund; where only its attempt is known it counts as a refund.
    """
    match kind:
        case OperationKind.EXPIRE:
            return OperationKind.VOID
        case OperationKind.REVERSE:
            return OperationKind.REFUND
        case _:
            return kind


def _sca(payment: Payment, issuer_country: str | None) -> Sca | None:
    """What the acquirer is asked for; nothing where the merchant authenticated elsewhere."""
    if payment.sca is None or payment.handed_in:
        return None
    return passed_on(Sca.of(payment.sca), issuer_country=issuer_country)


def _authorization(payment: Payment, target: Attempt | None) -> str | None:
    """The acquirer's reference of the authorization that an operation is about."""
    if target is not None and target.kind is OperationKind.AUTHORIZE:
        return target.connector_reference
    return payment.connector_reference
