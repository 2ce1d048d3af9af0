"""One walk's payment as three parties see it: the merchant, the events, the acquirer's own ledger."""

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from payonce.connectors.adyen import references
from tests.e2e.merchant import Body, Merchant, answered, order
from tests.support.eventually import eventually
from tests.support.forks import ran
from tests.support.witness import Entry, Witness

WITHIN_S = 90.0  # what an acquirer does later is played within seconds
COMMAND_S = 180.0  # on a busy machine
_COLUMNS = (46, 40, 48)


@dataclass
class Scene:
    """What a walk may do, as a merchant, a customer or an operator; what it says is shown when it ends."""

    shop: Merchant
    witness: Witness
    environ: dict[str, str]
    said: list[str] = field(default_factory=list)

    def say(self, what: str) -> None:
        """A line of what happens, for whoever reads the walk."""
        self.said.append(what)

    async def pays(self, fault: str | None = None, **changes: Any) -> Body:
        """A payment that is there, whatever became of it."""
        metadata = {**changes.pop("metadata", {}), **({} if fault is None else {"sandbox_fault": fault})}
        response = await self.shop.pay(**order(amount=1000, metadata=metadata, **changes))
        body: Body = response.json()
        self.say(f"POST /v1/payments {fault or ''} -> {response.status_code}")
        if response.status_code == 402:
            self.say(f"  {body['code']}: {json.dumps(body.get('errors') or body['detail'])}")
            payment: Body = body["payment"]
            return payment
        return answered(response, response.status_code)

    async def refunds(self, payment: Body, amount: int, **metadata: str) -> Body:
        response = await self.shop.refund(payment, {"amount": amount, "metadata": metadata})
        self.say(f"POST …/refunds {amount} -> {response.status_code}")
        refund: Body = response.json()
        return refund

    async def tries(self, what: str, payment: Body) -> str:
        """The code with which a capture or refund of what is left is refused; `200` where it is not."""
        response = await (self.shop.capture if what == "capture" else self.shop.refund)(payment)
        code = response.json().get("code", str(response.status_code))
        self.say(f"POST …/{what} -> {response.status_code} {code}")
        return str(code)

    async def told(self, payment: Body, *types: str, times: int = 1) -> Body:
        """The payment, once each of these events is there so often."""

        async def there() -> Body:
            timeline = await self.shop.timeline(payment)
            assert all(timeline.count(type_) >= times for type_ in types), timeline
            return await self.shop.payment(payment)

        return await eventually(there, WITHIN_S)

    async def becomes(self, payment: Body, **members: object) -> Body:
        """The payment, once these members are so."""

        async def so() -> Body:
            now = await self.shop.payment(payment)
            assert {name: now[name] for name in members} == members, now
            return now

        return await eventually(so, WITHIN_S)

    async def in_review(self, payment: Body) -> Body:
        """What `payonce review show` says of the payment, once an operation of it is in review."""

        async def called() -> Body:
            shown: Body = json.loads(await self.payonce("review", "show", payment["id"], "--json"))
            assert shown["reviews"], shown
            return shown

        return await eventually(called, WITHIN_S)

    async def decides(self, payment: Body, verdict: str, why: str) -> None:
        """An operator decides about the payment's one operation in review."""
        shown = await self.in_review(payment)
        (review,) = [one for one in shown["reviews"] if not one.get("closed_at")]
        self.say(f"in review: {review['words']}")
        self.say(f"payonce review decide {review['operation_id']} {verdict} --why '{why}'")
        said = await self.payonce("review", "decide", review["operation_id"], verdict, "--why", why)
        self.say("  " + said.strip().replace("\n", "\n  "))

    async def payonce(self, *words: str) -> str:
        """What the command printed. Raises `RuntimeError` with what it complained of."""
        ended = await ran("payonce", *words, environ={**os.environ, **self.environ}, within_s=COMMAND_S)
        if ended.status:
            raise RuntimeError(f"payonce {' '.join(words)}: {ended.error.strip()}")
        return ended.out

    async def ledger(self, payment: Body) -> list[Entry]:
        """The acquirer's own entries about the payment."""
        return await self.witness.ledger(payment_reference=self.named(payment))

    def named(self, payment: Body) -> str:
        """How the acquirer names the payment: Adyen knows letters and digits alone."""
        own: str = payment["id"]
        return references.plain(own) if payment["connector"] == "adyen" else own

    async def shown(self, payment: Body) -> str:
        """The three sides, side by side."""
        now = await self.shop.payment(payment)
        members = ("status", "amount_authorized", "amount_capturable", "amount_captured")
        members += ("amount_refundable", "amount_refunded", "pending_operation", "review", "last_error")
        left = [f"{name}: {_short(now[name])}" for name in members if now[name] is not None]
        events = [f"{event['sequence']}. {_told(event)}" for event in await self.shop.events(payment)]
        ledger = [_moved(entry) for entry in await self.ledger(payment)]
        return _table(("payment", "events", "acquirer's ledger"), left, events, ledger)


Walk = Callable[[Scene], Awaitable[Body]]


def _short(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return str(value.get("reason") or value.get("code") or value.get("type"))


def _told(event: Body) -> str:
    previously = event["data"].get("previously")
    return event["type"] + (f" (previously {previously})" if previously else "")


def _moved(entry: Body) -> str:
    of = f" of {entry['of']}" if entry.get("of") else ""
    return f"{entry['operation']} {entry['amount']}{of}, by {entry['origin']}"


def _table(titles: tuple[str, str, str], *columns: list[str]) -> str:
    wrapped = [
        [line[at : at + width - 2] for line in column for at in range(0, max(1, len(line)), width - 2)]
        for column, width in zip(columns, _COLUMNS, strict=True)
    ]
    rows = [titles, *zip_longest(*wrapped, fillvalue="")]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(row, _COLUMNS, strict=True)) for row in rows
    )
