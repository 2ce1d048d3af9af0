"""How an attempt of ours is found at Stripe.

By the intent's id. Where the answer to its create was lost: by the same create with the same key, which answers what
the first did; Stripe keeps keys for 24 h at least. After that by the intents made while the claim was good, to the
last one. What is not found then proves nothing: the outcome stays unknown, for a person.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import HttpRequest, segment
from payonce.connectors.stripe import forms, reading
from payonce.connectors.stripe.desk import StripeDesk
from payonce.connectors.stripe.objects import REFERENCE, Intent, IntentList, RefundList, StripeRefund
from payonce.domain.errors import ConnectorError, OutcomeUnknown

log = structlog.get_logger(__name__)

KEY_GOOD_FOR: Final = timedelta(hours=20)  # of the 24 that are documented
MADE_WITHIN: Final = timedelta(seconds=120)  # around the claim: its 5 s, the call's 20 s, and both clocks
_EXPAND: Final = ["latest_charge"]


class Finding:
    """Reads, and moves nothing: an intent that a create may make here is never confirmed."""

    def __init__(
        self,
        desk: StripeDesk,
        *,
        create: Callable[[Call], Awaitable[HttpRequest]],
        now: Callable[[], datetime],
    ) -> None:
        self._desk = desk
        self._create = create
        self._now = now

    async def intent(self, call: Call) -> Intent:
        """The authorization's intent. Raises the `ConnectorError`s: that there is none is never proven."""
        id_ = call.attempt_reference or call.authorization_reference
        if id_ is None:
            id_ = await self._id(call)
        found = await self.by_id(call, id_)
        if found.metadata.get(REFERENCE) != call.reference:
            raise OutcomeUnknown("an intent of another attempt")
        return found

    async def by_id(self, call: Call, intent_id: str) -> Intent:
        """The intent with this id, and its latest charge."""
        path = f"{forms.INTENTS}/{segment(intent_id)}"
        request = HttpRequest(method="GET", path=path, query={"expand": _EXPAND})
        found = await self._desk.ask(request, Intent, reference=call.reference)
        self._desk.check_mode(found.livemode)
        reading.check(found, call, id_=intent_id)
        return found

    async def refund(self, call: Call) -> StripeRefund | None:
        """The refund of ours; None where the list of its intent, read whole, has none."""
        intent_id = forms.authorization_of(call)
        if call.attempt_reference is not None:
            path = f"{forms.REFUNDS}/{segment(call.attempt_reference)}"
            found = await self._desk.ask(
                HttpRequest(method="GET", path=path), StripeRefund, reference=call.reference
            )
            if found.id != call.attempt_reference:
                raise OutcomeUnknown("another refund than was asked about")
            reading.check_refund(found, call)
            return found
        ours = [one for one in await self.refunds(call, intent_id) if one.reference == call.reference]
        for one in ours:
            reading.check_refund(one, call)
        return ours[0] if ours else None

    async def refunds(self, call: Call, intent_id: str) -> list[StripeRefund]:
        """Every refund of the intent, newest first."""
        pages = self._desk.pages(
            forms.REFUNDS, RefundList, {"payment_intent": intent_id}, reference=call.reference
        )
        found = [one async for page in pages for one in page.data]
        if any(
            one.payment_intent not in (None, intent_id) or one.currency != call.currency.lower()
            for one in found
        ):
            raise OutcomeUnknown("refunds of another intent")
        return found

    async def _id(self, call: Call) -> str:
        if call.claimed_at is None or self._now() - call.claimed_at < KEY_GOOD_FOR:
            try:
                made = await self._desk.ask(await self._create(call), Intent, reference=call.reference)
                self._desk.check_mode(made.livemode)
                reading.check(made, call, id_=None)
                return made.id
            except ConnectorError:
                if call.claimed_at is None:
                    raise
        return await self._listed(call, call.claimed_at)

    async def _listed(self, call: Call, claimed_at: datetime) -> str:
        """By our reference among all that were made at the time. Raises `OutcomeUnknown`.

        Where that is no more than the operation's beginning, all that were made since are read.
        """
        made = {"gte": int((claimed_at - MADE_WITHIN).timestamp())}
        if claimed_at != call.since:
            made["lte"] = int((claimed_at + MADE_WITHIN).timestamp())
        pages = self._desk.pages(forms.INTENTS, IntentList, {"created": made}, reference=call.reference)
        ours = [
            one async for page in pages for one in page.data if one.metadata.get(REFERENCE) == call.reference
        ]
        if not ours:
            log.error("acquirer_intent_not_found", reference=call.reference)
            raise OutcomeUnknown("no intent of ours is found, which proves nothing")
        tried = [one for one in ours if one.latest_charge is not None]
        return (tried or ours)[0].id
