"""Payments over HTTP: create, read, list, capture, void, and a payment's events and refunds."""

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from api.admission.requests import NewPayment
from api.front import Front, path_id
from api.http.key_header import KEY_MAX_LENGTH
from api.http.lists import (
    Listing,
    Merged,
    Page,
    created_between,
    fetch,
    invalid,
    list_response,
    one_of,
    read_query,
)
from api.http.responses import reply, shown
from api.http.spellings import REFERENCE_MAX_LENGTH, keys_meant, references_meant
from api.schemas.payments import CreateCapture, CreatePayment, CreateVoid
from payonce.domain.answers import encode, payment_view
from payonce.domain.errors import NotFound
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.payment_methods import Setup
from payonce.domain.personal import Browser, Party, PersonalData
from payonce.domain.saved_cards import check_paying, check_saving
from payonce.domain.sca import Sca
from payonce.storage.driver.connection import Connection
from payonce.storage.events import BODY
from payonce.storage.lookups import payments_of_key, reference_in_use
from payonce.storage.merchants import Caller
from payonce.storage.packing import body_of
from payonce.storage.payments import PAYMENT_COLUMNS, find_payment, payment_from
from payonce.storage.tables import events, payments

FILTERS = ("status", "merchant_reference", "idempotency_key", "created_after", "created_before")


class Payments:
    """The handlers under `/v1/payments`, refunds apart."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def create(self, request: Request) -> Response:
        post, body = await self._front.post(request, CreatePayment)
        return reply(
            await self._front.admission.create_payment(post, new_payment(body, mode=post.caller.mode))
        )

    async def capture(self, request: Request) -> Response:
        payment_id = path_id(request)
        post, body = await self._front.post(request, CreateCapture)
        result = await self._front.admission.capture(
            post, payment_id, amount_minor=body.amount, final=body.final
        )
        return reply(result)

    async def void(self, request: Request) -> Response:
        payment_id = path_id(request)
        post, body = await self._front.post(request, CreateVoid)
        return reply(await self._front.admission.void(post, payment_id, reason=body.reason))

    async def show(self, request: Request) -> Response:
        payment_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> Payment:
            return await payment_of(connection, caller, payment_id)

        return shown(encode(payment_view(await self._front.read(request, read))))

    async def list(self, request: Request) -> Response:
        page, filters = read_query(request, *FILTERS)
        span, status = created_between(filters), one_of(PaymentStatus, filters, "status")
        keys, references = (
            _meant(filters, "idempotency_key", keys_meant),
            _meant(filters, "merchant_reference", references_meant),
        )

        async def read(connection: Connection, caller: Caller) -> Response:
            wanted = [] if status is None else [payments.c.status == status]
            among = None
            if keys is not None:
                forms = [form for key in keys for form in self._front.stored_forms(caller, key)]
                among = await payments_of_key(connection, caller, forms)
            if references is not None:
                reference = await reference_in_use(connection, caller, references)
                wanted.append(payments.c.merchant_reference == reference)
            listing = Listing(
                PAYMENT_COLUMNS,
                (payments.c.merchant_id == caller.merchant_id, payments.c.mode == caller.mode),
                payments.c.id,
                (payments.c.xid, payments.c.created_at, payments.c.id),
                xid=payments.c.xid,
                wanted=tuple(wanted),
                span=span,
                among=among,
                merged=Merged(payments.c.status, list(PaymentStatus)) if status is None else None,
            )
            rows, has_more = await fetch(connection, listing, page)
            found = [encode(payment_view(payment_from(row))) for row in rows]
            return list_response(found, has_more=has_more)

        return await self._front.read(request, read)

    async def timeline(self, request: Request) -> Response:
        payment_id = path_id(request)
        page, _ = read_query(request)

        async def read(connection: Connection, caller: Caller) -> Response:
            payment = await payment_of(connection, caller, payment_id)
            return await _timeline(connection, payment, page)

        return await self._front.read(request, read)


async def payment_of(connection: Connection, caller: Caller, payment_id: str) -> Payment:
    """The caller's payment. Raises `NotFound`, also for another merchant's."""
    payment = await find_payment(connection, payment_id, merchant_id=caller.merchant_id, mode=caller.mode)
    if payment is None:
        raise NotFound
    return payment


def new_payment(body: CreatePayment, *, mode: str) -> NewPayment:
    """The body as admission takes it. Raises `InvalidRequest` for what cannot be paid with here."""
    paid_with = body.payment_method.paid_with(mode)
    setup = None if body.setup is None else Setup(body.setup)
    check_saving(setup, method=paid_with.method, sca=_sca(body))
    authentication = None if body.authentication is None else body.authentication.handed_in()
    check_paying(
        token=paid_with.token,
        cvc=paid_with.cvc,
        off_session=body.off_session is True,
        reason=body.reason,
        setup=setup,
        sca=_sca(body),
        authentication=authentication,
    )
    return NewPayment(
        amount_minor=body.amount,
        currency=body.currency,
        capture_method=body.capture_method,
        method=paid_with.method,
        card=paid_with.card,
        network_token=paid_with.network_token,
        payment_method=paid_with.shown,
        merchant_reference=body.merchant_reference,
        description=body.description,
        metadata=body.metadata,
        return_url=body.return_url,
        customer=None if body.customer is None else body.customer.model_dump(exclude_none=True),
        statement_descriptor=body.statement_descriptor,
        channel=body.channel,
        personal=_personal_data(body),
        sca=_sca(body),
        authentication=authentication,
        token=paid_with.token,
        cvc=paid_with.cvc,
        off_session=body.off_session is True,
        reason=body.reason,
        setup=setup,
    )


def _sca(body: CreatePayment) -> Sca | None:
    """What is asked for beyond the usual."""
    asked = None if body.sca is None else Sca(challenge=body.sca.challenge, exemption=body.sca.exemption)
    return None if asked == Sca() else asked


def _personal_data(body: CreatePayment) -> PersonalData:
    billing, shipping, browser = body.billing, body.shipping, body.browser
    return PersonalData(
        billing=None if billing is None else Party.of(billing.model_dump()),
        shipping=None if shipping is None else Party.of(shipping.model_dump()),
        browser=None if browser is None else Browser.of(browser.model_dump()),
    )


def _meant(
    filters: Mapping[str, str], name: str, readings: Callable[[str], Sequence[str]]
) -> Sequence[str] | None:
    """What the filter may mean; None where it is not there. Raises `Problem` for what nothing can be."""
    if name not in filters:
        return None
    if not (found := readings(filters[name])):
        raise invalid(name, _REFUSALS[name])
    return found


_REFUSALS = {
    "idempotency_key": f"must be an Idempotency-Key: 1 to {KEY_MAX_LENGTH} visible ASCII characters",
    "merchant_reference": f"must have at most {REFERENCE_MAX_LENGTH} characters, as every reference",
}


async def _timeline(connection: Connection, payment: Payment, page: Page) -> Response:
    """The payment's events, oldest first. The payment's lock lets no event be seen before an earlier one."""
    mine = (events.c.payment_id == payment.id,)
    listing = Listing(BODY, mine, events.c.id, (events.c.sequence,), newest_first=False)
    rows, has_more = await fetch(connection, listing, page)
    return list_response([body_of(row) for row in rows], has_more=has_more)
