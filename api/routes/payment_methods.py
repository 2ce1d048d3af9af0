"""Saved cards over HTTP: saved in the vault, shown, listed, deleted."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Boolean, ColumnElement, literal_column
from starlette.requests import Request
from starlette.responses import Response

from api.admission.requests import Post
from api.front import Front, key_of, path_id
from api.http.lists import Listing, fetch, invalid, list_response, read_query
from api.http.responses import NO_STORE, reply, shown
from api.problems import NO_CONTENT
from api.schemas.payment_methods import CreatePaymentMethod
from payonce.domain.answers import Answer, AnswerKind, encode, payment_method_view
from payonce.domain.audit import Act, AuditAction
from payonce.domain.cards import Card
from payonce.domain.errors import InvalidRequest, NotFound, PaymentError
from payonce.domain.payment_methods import (
    CUSTOMER_ID_MAX_LENGTH,
    PaymentMethod,
    SavedState,
    Setup,
)
from payonce.domain.saved_cards import REFUSED, check_storage
from payonce.metrics import REFUSED as REFUSALS
from payonce.storage import audit, payment_methods, risk_facts
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.payment_methods import PAYMENT_METHOD_COLUMNS, method_from
from payonce.storage.tables import ACTIVE
from payonce.storage.tables import payment_methods as table
from payonce.vault import payment_methods as vaulted
from payonce.vault.keys import VaultUnavailable
from payonce.vault.saving import SealedCard, TooManySaved, Vault


class PaymentMethods:
    """The handlers under `/v1/payment_methods`."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._runtime = front.runtime

    async def create(self, request: Request) -> Response:
        post, body = await self._front.post(request, CreatePaymentMethod)
        card = body.card.card()
        sealed = await self._sealed(post.caller, card)  # which no transaction waits for
        method = self._new(post, card, customer_id=None if body.customer is None else body.customer.id)

        async def work(connection: Connection) -> tuple[Answer, str]:
            if isinstance(sealed, PaymentError):
                raise sealed  # now that the key is known to be new: a replay comes all the same
            return await self._save(connection, method, card, sealed)

        result = await self._front.admission.execute_once(post, work)
        if not result.replayed:
            self._runtime.wakeups.wake_relay()
        return reply(result)

    async def show(self, request: Request) -> Response:
        id_ = path_id(request)

        async def read(connection: Connection, caller: Caller) -> PaymentMethod | None:
            usable = payment_methods.usable(id_, merchant_id=caller.merchant_id, mode=caller.mode)
            return await connection.fetch(usable)

        method = await self._front.read(request, read)
        if method is None:
            raise NotFound
        return shown(_encoded(method))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, "customer")
        wanted = (literal_column(ACTIVE, Boolean), *_of_customer(filters))

        async def read(connection: Connection, caller: Caller) -> Response:
            mine: tuple[ColumnElement[bool], ...] = (  # a cursor may name one that was deleted since
                table.c.merchant_id == caller.merchant_id,
                table.c.mode == caller.mode,
                table.c.state != SavedState.PROVISIONAL,
            )
            position = (table.c.xid, table.c.created_at, table.c.id)
            listing = Listing(
                PAYMENT_METHOD_COLUMNS, mine, table.c.id, position, xid=table.c.xid, wanted=wanted
            )
            rows, has_more = await fetch(connection, listing, page)
            return list_response([_encoded(method_from(row)) for row in rows], has_more=has_more)

        return await self._front.read(request, read)

    async def delete(self, request: Request) -> Response:
        id_ = path_id(request)

        async def write(connection: Connection, caller: Caller) -> bool:
            """What a key decides of the vault is in the audit log, or it is not done."""
            if not await vaulted.delete(connection, id_, merchant_id=caller.merchant_id, mode=caller.mode):
                return False
            act = Act(
                action=AuditAction.METHOD_DELETED,
                subject=id_,
                merchant_id=caller.merchant_id,
                mode=caller.mode,
            )
            await audit.decided(connection, key_of(request, caller), act)
            return True

        if not await self._front.write(request, write):
            raise NotFound
        self._runtime.wakeups.wake_relay()
        return Response(status_code=NO_CONTENT, headers=NO_STORE)

    async def _sealed(self, caller: Caller, card: Card) -> SealedCard | PaymentError:
        """The card for the vault, or why it is not saved; then no key server is asked."""
        try:
            self._check(caller, card)
            return await self._vault.seal(card.number, merchant_id=caller.merchant_id, mode=caller.mode)
        except PaymentError as refused:
            return refused

    def _check(self, caller: Caller, card: Card) -> None:
        """Raises `InvalidRequest` for a card that is over, or that may not be kept."""
        if card.expired(datetime.now(UTC)):
            raise InvalidRequest("The card's month is over.", pointer="/card/exp_year", code="card_expired")
        if caller.card_storage == "acquirer":
            raise InvalidRequest(
                "This merchant's cards are saved at the acquirers: with a payment that has `setup`.",
                pointer="/card",
                code=REFUSED,
            )
        country = self._runtime.issuers.country_of(card, mode=caller.mode)
        check_storage(caller.card_storage, country, pointer="/card")

    @property
    def _vault(self) -> Vault:
        if self._runtime.vault is None:
            raise VaultUnavailable("no keys are named: no card can be saved")
        return self._runtime.vault

    def _new(self, post: Post, card: Card, *, customer_id: str | None) -> PaymentMethod:
        caller, now = post.caller, datetime.now(UTC)
        return PaymentMethod(
            id=self._runtime.ids.payment_method(
                merchant_id=caller.merchant_id, mode=caller.mode, key=post.key
            ),
            merchant_id=caller.merchant_id,
            mode=caller.mode,
            state=SavedState.ACTIVE,
            setup=Setup.ON_SESSION,
            customer_id=customer_id,
            brand=card.brand,
            last4=card.last4,
            exp_month=card.exp_month,
            exp_year=card.exp_year,
            fingerprint=None,
            payment_id=None,
            issuer_country=self._runtime.issuers.country_of(card, mode=caller.mode),
            created_at=now,
            updated_at=now,
        )

    async def _save(
        self, connection: Connection, method: PaymentMethod, card: Card, sealed: SealedCard
    ) -> tuple[Answer, str]:
        """The number, the row, the event and the answer. Raises `TooManySaved`: then none of them is there."""
        try:
            saved = await vaulted.save(connection, self._vault, method, sealed)
        except TooManySaved:
            REFUSALS.labels("cards_saved").inc()
            raise
        whose = (method.merchant_id, method.mode)
        of_card = self._runtime.risk_subjects.card(card.number, merchant_id=whose[0], mode=whose[1])
        await risk_facts.save(connection, method.id, *whose, card=of_card)
        return Answer(AnswerKind.PAYMENT_METHOD, _encoded(saved)), f"/v1/payment_methods/{saved.id}"


def _encoded(method: PaymentMethod) -> bytes:
    return encode(payment_method_view(method, now=datetime.now(UTC)))


def _of_customer(filters: Mapping[str, str]) -> tuple[ColumnElement[bool], ...]:
    if "customer" not in filters:
        return ()
    if len(filters["customer"]) > CUSTOMER_ID_MAX_LENGTH:
        raise invalid("customer", f"must have at most {CUSTOMER_ID_MAX_LENGTH} characters")
    return (table.c.customer_id == filters["customer"],)
