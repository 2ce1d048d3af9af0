"""Every text that a request brings and that is kept: no card number is in it, however it is spelled."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from starlette.datastructures import Headers

from api.http.key_header import required_key
from api.http.validation import understand
from api.problems import Problem
from api.schemas import payment_methods, payments, webhooks
from api.schemas.payments import Body, Context
from payonce.connectors.sandbox import answers
from payonce.domain.errors import InvalidRequest
from payonce.storage.merchants import create_merchant
from tests.api.fakes import payment_body

CONTEXT = Context(mode="test", allow_loopback=False)
SPELLINGS = (
    "4111111111111111",
    "4111/1111/1111/1111",
    "4111_1111_1111_1111",
    "4111.1111.1111.1111",
    "4111\u00a01111\u00a01111\u00a01111",
    "４１１１１１１１１１１１１１１１",
    "٤١١١١١١١١١١١١١١١",
    "4111%201111%201111%201111",
    "abcd4111111111111111abcd",
    "4111111111111111abcdef",
)

# Every text of every request that is stored, by model and member: with what may stand around a card number there.
STORED: Final[Mapping[str, str]] = {
    "CreatePayment.merchant_reference": "order {}",
    "CreatePayment.description": "paid with {} today",
    "CreatePayment.metadata[]": "card {}",
    "CreatePayment.metadata{}": "{}",
    "CreatePayment.return_url": "https://shop.example/back?of={}",
    "CreatePayment.statement_descriptor": "{}",
    "Customer.id": "customer-{}",
    "Customer.name": "Asha {} Rao",
    "Customer.email": "{}@shop.example",
    "Customer.phone": "{}",
    "Address.line1": "house {}",
    "Address.line2": "flat {}",
    "Address.city": "{}",
    "Address.state": "{}",
    "Address.postal_code": "{}",
    "Party.name": "Asha {} Rao",
    "Browser.user_agent": "Mozilla/5.0 {}",
    "Browser.accept": "text/html; {}",
    "Browser.language": "{}",
    "Upi.vpa": "{}@upi",
    "CreateVoid.reason": "{}",
    "CreateRefund.reason": "{}",
    "CreateRefund.metadata[]": "{}",
    "CreateRefund.metadata{}": "{}",
    "SavedFor.id": "customer-{}",
    "CreateEndpoint.url": "https://shop.example/{}",
    "CreateEndpoint.description": "{}",
    "UpdateEndpoint.url": "https://shop.example/{}",
    "UpdateEndpoint.description": "{}",
}
NOT_STORED: Final[Mapping[str, str]] = {
    "Card.number": "in memory only, and as a keyed hash in the fingerprint",
    "Card.cvc": "in memory only",
    "CardMethod.token": "looked up; what is found is stored",
    "CardMethod.cvc": "in memory only",
    "Authentication.version": "in memory only, and so are the next three",
    "Authentication.eci": "in memory only",
    "Authentication.cavv": "in memory only",
    "Authentication.ds_transaction_id": "in memory only",
    "Wallet.token": "in memory only, and in the fingerprint, which is a keyed hash",
    "CreatePayment.currency": "one of a list",
    "Address.country": "one of a list",
    "Browser.ip": "an address by its form, and stored in no other",
    "Redeliver.endpoint": "looked up",
}


def leaves(name: str, annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The texts in a member's type, each with what is demanded of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is str:
        yield name, Annotated[(str, *metadata)] if metadata else str
    elif origin is Annotated:
        yield from leaves(name, arguments[0], (*metadata, *arguments[1:]))
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from leaves(name, argument, metadata)
    elif origin is dict:
        yield from leaves(f"{name}[]", arguments[0])
        yield from leaves(f"{name}{{}}", arguments[1])
    elif origin in (list, tuple):
        for argument in arguments:
            yield from leaves(f"{name}[]", argument)


def models(of: type[Body] = Body) -> Iterator[type[Body]]:
    for model in of.__subclasses__():
        if model.__module__ in (payment_methods.__name__, payments.__name__, webhooks.__name__):
            yield model
        yield from models(model)


def texts() -> dict[str, Any]:
    """Every text of every request model."""

    def declared(field: FieldInfo) -> tuple[Any, ...]:
        return (*field.metadata,)

    return dict(
        leaf
        for model in models()
        for member, field in model.model_fields.items()
        for leaf in leaves(f"{model.__name__}.{member}", field.annotation, declared(field))
    )


def test_no_text_of_a_request_is_forgotten() -> None:
    """A new member of a request that is a text must be in one of the two lists."""
    assert set(texts()) == {*STORED, *NOT_STORED}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_stored_text_with_a_card_number_is_refused_and_not_repeated(name: str, spelling: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(texts()[name], config={"hide_input_in_errors": True})
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(STORED[name].format(spelling), context=CONTEXT)
    assert "1111" not in str(refused.value)


@pytest.mark.parametrize("name", STORED)
def test_a_stored_text_without_one_is_taken(name: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(texts()[name])
    text = STORED[name].format("9876543210")
    assert adapter.validate_python(text, context=CONTEXT) == text


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"return_url": "https://shop.example/?card=4111111111111111"}, "/return_url"),
        ({"customer": {"phone": "4111 1111 1111 1111"}}, "/customer/phone"),
        ({"metadata": {"a": "4111_1111_1111_1111"}}, "/metadata/a"),
        ({"metadata": {"4111111111111111": "a"}}, "/metadata"),
        (
            {"payment_method": {"type": "upi", "upi": {"flow": "collect", "vpa": "4111111111111111@upi"}}},
            "/payment_method/upi/vpa",
        ),
    ],
)
def test_a_card_number_is_refused_with_its_pointer(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        understand(payments.CreatePayment, payment_body(**changes), CONTEXT)
    (mistake,) = refused.value.mistakes
    assert (refused.value.status, refused.value.problem_code, mistake.pointer) == (
        400,
        "invalid_request",
        pointer,
    )


@pytest.mark.parametrize(
    "spelling", ["4111111111111111", "4111/1111/1111/1111", "4111_1111_1111_1111", "k4111-1111-1111-1111"]
)
def test_an_idempotency_key_with_a_card_number_is_refused(spelling: str) -> None:
    with pytest.raises(Problem, match="card number"):
        required_key(Headers({"idempotency-key": spelling}))


async def test_a_merchants_name_with_a_card_number_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="card number"):
        await create_merchant(None, name="Shop 4111 1111 1111 1111")


def test_models_are_found() -> None:
    assert {payments.CreatePayment, webhooks.CreateEndpoint} <= set(models())
    assert all(issubclass(model, BaseModel) for model in models())


def test_what_an_acquirer_says_besides_is_kept_without_a_card_number() -> None:
    """The answer itself counts: an approval is no less one for the payer's address that it tells."""
    told = {"id": "a1", "reference": "pay_1-1", "operation": "authorize", "status": "approved"}
    turn = {"id": "t1", "type": "undone", "operation": "capture", "amount": 1, "currency": "INR"}
    answer = answers.SandboxAnswer.model_validate(
        {
            **told,
            "amount": 1,
            "currency": "INR",
            "payer_vpa": "4111111111111111@upi",
            "history": [{**turn, "reason": "card 4111 1111 1111 1111"}],
        }
    )
    assert answer.payer_vpa is None
    assert answer.history[0].reason is None
