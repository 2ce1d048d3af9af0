"""A payment's receipt over HTTP: from the store, or a word that it is being made."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.front import Front, path_id
from api.http.lists import invalid, parameters
from api.http.spellings import id_meant
from api.problems import FOUND, Problem
from api.routes.payments import payment_of
from payonce.domain.errors import NotFound
from payonce.domain.ids import ID_PATTERN
from payonce.logging import get_logger
from payonce.receipts.headers import MEDIA_TYPES, headers
from payonce.receipts.store import LOOK_S, ReceiptStore, StoreUnavailable
from payonce.storage import receipts
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.receipts import Form, ReceiptPlace, ReceiptRow, Turn

DRAWN_S: Final = 0.15  # one receipt, from its lease until it is stored
RETRY_S: Final = (1, 30)  # at least and at most
STORE_AWAY_S: Final = 5
LOOKS_MAX: Final = 100  # at once of a process: each holds a connection of ours, and one of the store's
_VARY: Final = {"Vary": "Accept"}
_PDF, _HTML = "application/pdf", "text/html"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which receipt is meant, and what is known of it."""

    caller: Caller
    place: ReceiptPlace
    found: ReceiptRow | None
    turn: Turn | None


class Receipts:
    """The handler of `/v1/payments/{id}/receipt`."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._looking = 0

    async def show(self, request: Request) -> Response:
        payment_id, refund_id = path_id(request), _refund_id(request)
        form = form_of(request.headers.getlist("accept"))

        async def read(connection: Connection, caller: Caller) -> _Asked:
            payment = await payment_of(connection, caller, payment_id)
            refund = None
            if refund_id is not None:
                refund = await receipts.find_refund(connection, payment, refund_id)
                if refund is None:
                    raise NotFound
            if not receipts.has_receipt(payment, refund):
                raise _nothing_yet(refunded=refund is not None)
            place = await receipts.place_of(connection, payment, refund_id, form)
            found = await receipts.find(connection, place)
            waits = found is not None and found.stored_at is None
            turn = await receipts.turn_of(connection, place) if waits else None
            return _Asked(caller, place, found, turn)

        asked = await self._front.read(request, read)
        store = self._front.runtime.receipts
        if store is None:
            raise Problem("receipt_not_ready", "This deployment keeps no receipts.", headers=_VARY)
        if asked.found is None:
            raise await self._ask(request, asked.place)
        if asked.found.given_up_until is not None:
            raise await self._given_up(request, asked.found, asked.found.given_up_until)
        if asked.turn is not None:
            raise _being_made(_retry_after_s(asked.turn))
        return await self._from(store, request, asked.found)

    async def _ask(self, request: Request, place: ReceiptPlace) -> Problem:
        """It is in the queue, or the queue has no room."""

        async def ask(connection: Connection, caller: Caller) -> int:
            whose = {"merchant_id": caller.merchant_id, "mode": caller.mode}
            return await receipts.ask(connection, place, **whose)

        waiting = await self._front.write(request, ask)
        if not waiting:
            return _being_made(RETRY_S[1])
        self._front.runtime.wakeups.wake_renderer()
        return _being_made(_retry_after_s(Turn(waiting - 1, 0.0, 0.0)))

    async def _given_up(self, request: Request, found: ReceiptRow, until: datetime) -> Problem:
        """It could not be drawn; after a while it is tried anew for whoever asks."""
        if datetime.now(UTC) >= until:
            await self._ask_again(request, found)
            return _being_made(RETRY_S[0])
        tries = receipts.DRAWN_TRIES_MAX
        detail = f"The receipt could not be drawn in {tries} tries; whoever runs this service is told why."
        return Problem("operation_not_supported", detail, headers=_VARY)

    async def _ask_again(self, request: Request, found: ReceiptRow) -> None:
        async def ask(connection: Connection, _caller: Caller) -> None:
            await receipts.ask_again(connection, found)

        await self._front.write(request, ask)
        self._front.runtime.wakeups.wake_renderer()

    async def _from(self, store: ReceiptStore, request: Request, found: ReceiptRow) -> Response:
        """What the store has. One that it has lost, or holds otherwise, is asked for again."""
        if self._looking >= LOOKS_MAX:
            raise _being_made(STORE_AWAY_S)
        self._looking += 1
        try:
            response = await _answer(store, found, head=request.state.without_content)
        except StoreUnavailable as error:
            log.warning("receipt_store_unavailable", error=error.message)
            raise _being_made(STORE_AWAY_S) from error
        finally:
            self._looking -= 1
        if response is not None:
            return response
        log.error("receipt_lost", payment_id=found.place.payment_id, key=found.key)
        await self._ask_again(request, found)
        raise _being_made(RETRY_S[0])


async def _answer(store: ReceiptStore, found: ReceiptRow, *, head: bool) -> Response | None:
    """The receipt, or where it is; None where it is not what was stored. Raises `StoreUnavailable`.

    An address is signed for one method: `head` is redirected to one that answers HEAD.
    """
    content = await store.get(found.key, within_s=LOOK_S)
    if content is None or hashlib.sha256(content).digest() != found.sha256:
        return None
    if store.signs:
        url = store.signed_url(found.key, method="HEAD" if head else "GET")
        headers_ = {"Location": url, "Cache-Control": "no-store", **_VARY}
        return Response(status_code=FOUND, headers={**headers_, "Referrer-Policy": "no-referrer"})
    form = found.place.form
    shown = {"Content-Disposition": f'inline; filename="receipt.{form}"', **headers(), **_VARY}
    return Response(content, media_type=MEDIA_TYPES[form], headers=shown)


def form_of(accepted: Sequence[str]) -> Form:
    """PDF where it is preferred, else HTML, also for who takes neither. Source: RFC 9110 §12.5.1."""
    weights: dict[str, float] = {}
    for one in ",".join(accepted).split(","):
        name, *parameters_ = (part.strip().lower() for part in one.split(";"))
        weights[name] = max(weights.get(name, 0.0), _weight(parameters_))
    return "pdf" if _preference(weights, _PDF) > _preference(weights, _HTML) else "html"


def _preference(weights: Mapping[str, float], media_type: str) -> tuple[float, bool]:
    """The weight of the most specific range that has it; of equal ones, what is named goes first."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    found = next((each for each in ranges if each in weights), "")
    weight = weights.get(found, 0.0)
    return weight, weight > 0 and found == media_type


def _weight(parameters_: Sequence[str]) -> float:
    text = next((each[2:] for each in parameters_ if each.startswith("q=")), "1")
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def _refund_id(request: Request) -> str | None:
    """The refund in the query. Raises `Problem` for any other parameter, and `NotFound` for what cannot be an id."""
    found: str | None = None
    for name, value in parameters(request.scope["query_string"]):
        if name != "refund":
            raise invalid(name, "is not a parameter of a receipt")
        if found is not None:
            raise invalid(name, "must be there once")
        found = id_meant(value)
        if not ID_PATTERN.match(found):
            raise NotFound
    return found


def _retry_after_s(turn: Turn) -> int:
    """When to look again: after those before it, no sooner than it is due, and later the longer it takes."""
    seconds = max(turn.ahead * DRAWN_S, turn.age_s, turn.due_in_s)
    return min(max(math.ceil(seconds), RETRY_S[0]), RETRY_S[1])


def _nothing_yet(*, refunded: bool) -> Problem:
    detail = "The refund has not succeeded." if refunded else "Nothing of the payment is captured."
    return Problem("receipt_not_ready", f"{detail} There is no receipt of that.", headers=_VARY)


def _being_made(retry_after_s: int) -> Problem:
    detail = "The receipt is being made; ask again."
    return Problem("receipt_not_ready", detail, headers={"Retry-After": str(retry_after_s), **_VARY})
