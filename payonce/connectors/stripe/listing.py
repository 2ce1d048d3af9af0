"""Stripe's list of what it charged: the intents made in a time, then older ones of which it tells something.

Intents are listed by the time they were made. What became of older ones since, a refund in the dashboard or one that
failed at the bank, Stripe tells in its events, which it keeps for 30 days; they name the intent, which is then read.
Both lists have the newest first, and are asked for a time that is over: nothing comes into it while they are read.
Source: docs.stripe.com/api/payment_intents/list, /api/events/list, /api/pagination and /expand. Read, not tried.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import segment
from payonce.connectors.listing import ChargePage, ListLimits, Unreadable, answered, page_of, readable
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe import forms, reading
from payonce.connectors.stripe.amounts import from_stripe
from payonce.connectors.stripe.desk import StripeDesk
from payonce.connectors.stripe.disputing import Disputing
from payonce.connectors.stripe.finding import Finding
from payonce.connectors.stripe.objects import (
    PAYMENT,
    REFERENCE,
    Charge,
    EventList,
    Intent,
    ListedIntents,
    ListPage,
    MalformedEvent,
    MalformedIntent,
    OneIntent,
    StripeEvent,
    StripeRefund,
)
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Pending, Reversed, Stage
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import Said, TheirCharge, Totals

log = structlog.get_logger(__name__)

LIMITS: Final = ListLimits(
    lag_s=60.0, pages_per_s=2.0
)  # of 25 requests a second in test mode, 100 in live mode
LIST_PAGE: Final = 100
EVENTS_PAGE: Final = 10  # each may cost a read of its intent
LIST_BYTES_MAX: Final = 8 * 1024 * 1024
INTENTS, EVENTS = "payment_intents", "events"
TYPES: Final = (
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.expired",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.succeeded",
    "refund.created",
    "refund.updated",
    "refund.failed",
)
"""Of events after which an intent is not what it was when it was listed."""

_LISTED: Final = ["data.latest_charge.refunds"]
_READ: Final = ["latest_charge.refunds"]
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_CHARGED: Final = ("succeeded", "requires_capture", "canceled")
_NAMELESS: Final = "without an id"
_UNDER_WAY: Final = ("pending", "requires_action")


class ChargeList:
    """Reads, and moves nothing. Where a page ended is a word for the list and the last id."""

    def __init__(self, desk: StripeDesk, finding: Finding, disputing: Disputing) -> None:
        self._desk = desk
        self._finding = finding
        self._disputing = disputing

    async def page(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """See `ChargeListing`."""
        created = {"gte": int(since.timestamp()), "lte": int(until.timestamp())}
        name, _, last = (after or INTENTS).partition(" ")
        query: dict[str, FormValue] = {"created": created, "starting_after": last or None}
        if name == INTENTS:
            return await self._of_intents(query, last)
        return await self._of_events(query, last, since=created["gte"])

    async def _of_intents(self, query: dict[str, FormValue], last: str) -> ChargePage:
        asked = {**query, "limit": LIST_PAGE, "expand": _LISTED}
        page = await self._desk.page(forms.INTENTS, ListedIntents, asked, bytes_max=LIST_BYTES_MAX)
        ended = _ended(page, [intent.id for intent in page.data], last)
        following = EVENTS if ended is None else f"{INTENTS} {ended}"
        return await page_of(page.data, self._charge, following=following)

    async def _of_events(self, query: dict[str, FormValue], last: str, *, since: int) -> ChargePage:
        """Intents that were made before that time, by what is told of them."""
        asked = {**query, "limit": EVENTS_PAGE, "types": TYPES}
        page = await self._desk.page(forms.EVENTS, EventList, asked, bytes_max=LIST_BYTES_MAX)
        for event in page.data:
            self._check_mode(event.livemode)
        events = [event for event in page.data if isinstance(event, StripeEvent)]
        told = (event.data.object for event in events)
        ids = dict.fromkeys(one.intent_id for one in told if not one.is_intent or (one.created or 0) < since)
        odd = (event for event in page.data if isinstance(event, MalformedEvent))
        ended = _ended(page, [event.id for event in page.data], last)
        following = None if ended is None else f"{EVENTS} {ended}"
        asked_for: list[str | MalformedEvent] = [*(id_ for id_ in ids if id_ is not None), *odd]
        return await page_of(asked_for, partial(self._older, since=since), following=following)

    async def _older(self, about: str | MalformedEvent, *, since: int) -> TheirCharge | None:
        """The intent of this id as it is by now; None of one that was listed. Raises `Unreadable`."""
        if isinstance(about, MalformedEvent):
            raise Unreadable(about.id or _NAMELESS, "an event that is not as it is documented")
        with answered(about):
            found = await self._read(about)
        return None if (found.created or 0) >= since else await self._charge(found)

    async def _read(self, intent_id: str) -> Intent | MalformedIntent:
        path = f"{forms.INTENTS}/{segment(intent_id)}"
        found = (await self._desk.page(path, OneIntent, {"expand": _READ}, bytes_max=LIST_BYTES_MAX)).root
        if found.id is None:
            return found.model_copy(update={"id": intent_id})
        if found.id != intent_id:
            raise OutcomeUnknown("another intent than was asked about")
        return found

    def _check_mode(self, livemode: bool | None) -> None:
        if livemode is not None:
            self._desk.check_mode(livemode)

    async def _charge(self, intent: Intent | MalformedIntent) -> TheirCharge | None:
        """What the intent took or holds, or gave back; None: it never charged anything.

        Raises `Unreadable` for one that cannot be read, and may be ours: what it stands for is not known.
        """
        self._check_mode(intent.livemode)
        if isinstance(intent, MalformedIntent):
            if intent.metadata is None or _ours(intent.metadata.get(REFERENCE)) is not None:
                raise Unreadable(intent.id or _NAMELESS, "it is not as it is documented")
            log.warning("acquirer_charge_of_others_not_read", acquirer_id=intent.id, why="malformed")
            return None
        charge = intent.charge
        if intent.latest_charge is None or (charge is not None and charge.status != "succeeded"):
            return None
        if _ours(intent.metadata.get(REFERENCE)) is not None:
            return await self._told(intent)
        try:
            return await self._told(intent)
        except OutcomeUnknown as error:
            log.warning("acquirer_charge_of_others_not_read", acquirer_id=intent.id, why=error.message)
            return _of_others(intent)

    async def _told(self, intent: Intent) -> TheirCharge | None:
        charge = intent.charge
        if charge is None or intent.status not in _CHARGED:
            raise Unreadable(intent.id, "its status or its charge is not known")
        with readable(intent.id):
            call = _call(intent)
        refunds = await self._refunds(intent, charge, call)
        with readable(intent.id):
            totals = _totals(intent, charge, refunds, call.currency)
            fact: reading.Standing = reading.after_refunds(
                reading.authorization(intent, call), intent, refunds, call
            )
        if isinstance(fact, Pending) and any(one.status in _UNDER_WAY for one in refunds):
            return None  # what its refund comes to is told
        if isinstance(fact, Pending) and totals.live:  # what was to be given back, and is not
            fact = Approved(intent.id, totals.captured_minor, call.currency, stage=Stage.CAPTURED)
        fact = await self._disputing.told(fact, call, intent)
        if not isinstance(fact, Approved | Reversed):
            return None
        if isinstance(fact, Approved):
            disputed = sum(one.withdrawn_minor for one in fact.disputes)
            totals = replace(totals, disputed_minor=disputed)
        reference = _ours(intent.metadata.get(REFERENCE))
        said = Said(intent.id, OperationKind.AUTHORIZE, reference, totals.authorized_minor, fact)
        return TheirCharge(
            id=intent.id,
            reference=reference,
            currency=call.currency,
            created_at=datetime.fromtimestamp(intent.created, UTC),
            totals=totals,
            said=(said, *_refunds_said(refunds, call)),
        )

    async def _refunds(self, intent: Intent, charge: Charge, call: Call) -> Sequence[StripeRefund]:
        """Every refund of the intent, newest first: those of its charge, where they came whole with it."""
        if not intent.amount_received:
            return ()
        whole = charge.refunds
        if whole is None or whole.has_more:
            with answered(intent.id):
                return await self._finding.refunds(call, intent.id)
        if any(one.payment_intent not in (None, intent.id) for one in whole.data):
            raise Unreadable(intent.id, "refunds of another intent")
        return whole.data


def _of_others(intent: Intent) -> TheirCharge:
    """Somebody else's, of which no more is known than what it took, as Stripe has it."""
    currency = intent.currency.upper()
    taken = Approved(intent.id, intent.amount_received, currency)
    return TheirCharge(
        id=intent.id,
        reference=None,
        currency=currency,
        created_at=datetime.fromtimestamp(intent.created, UTC),
        totals=Totals(
            authorized_minor=intent.amount,
            captured_minor=intent.amount_received,
            refunded_minor=0,
            disputed_minor=0,
            held_minor=intent.amount_capturable,
        ),
        said=(Said(intent.id, OperationKind.AUTHORIZE, None, intent.amount, taken),),
    )


def _ended(page: ListPage, ids: Sequence[str | None], last: str) -> str | None:
    """The id that the next page begins after; None: there is none. Raises `OutcomeUnknown`."""
    if not page.has_more:
        return None
    if not ids or ids[-1] in (None, last):
        raise OutcomeUnknown("a list that does not go on")
    return ids[-1]


def _call(intent: Intent) -> Call:
    """What an inquiry about the intent's attempt would be given, as far as an intent says it."""
    currency = intent.currency.upper()
    return Call(
        kind=OperationKind.AUTHORIZE,
        reference=intent.metadata.get(REFERENCE, intent.id),
        payment_id=intent.metadata.get(PAYMENT, ""),
        amount_minor=from_stripe(intent.amount, currency),
        currency=currency,
        automatic_capture=intent.capture_method != "manual",
        attempt_reference=intent.id,
        approved=True,  # Stripe did: its charge succeeded
    )


def _totals(intent: Intent, charge: Charge, refunds: Sequence[StripeRefund], currency: str) -> Totals:
    """Without what is disputed. A refund that may still fail has given nothing back."""
    refunded = sum(one.amount for one in refunds if one.status == "succeeded")
    return Totals(
        authorized_minor=from_stripe(charge.amount, currency),
        captured_minor=from_stripe(intent.amount_received, currency),
        refunded_minor=from_stripe(refunded, currency),
        disputed_minor=0,
        held_minor=from_stripe(intent.amount_capturable, currency),
    )


def _refunds_said(refunds: Sequence[StripeRefund], call: Call) -> list[Said]:
    """Each refund of ours of which there is an outcome, oldest first."""
    said = []
    for one in reversed(refunds):
        reference = _ours(one.reference)
        if reference is None:
            continue
        asked = replace(call, kind=OperationKind.REFUND, reference=reference, attempt_reference=one.id)
        fact = reading.refund(one, asked)
        if isinstance(fact, Approved):
            said.append(Said(one.id, OperationKind.REFUND, reference, fact.amount_minor, fact))
    return said


def _ours(reference: str | None) -> str | None:
    """The reference, where it may be one of ours: anybody may write there what they like."""
    return reference if reference is not None and _REFERENCE.fullmatch(reference) else None
