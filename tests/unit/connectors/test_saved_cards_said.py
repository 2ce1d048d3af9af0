"""How each acquirer is told that a card was saved, who asks for the money, and why."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from payonce.connectors.adyen import bodies
from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.sandbox.card import SandboxCard
from payonce.connectors.stripe import forms
from payonce.domain.cards import Card
from payonce.domain.operations import OperationKind
from payonce.domain.payment_methods import NetworkTransaction, Reason, StoredCredential

CALL = Call(
    kind=OperationKind.AUTHORIZE,
    reference="pay_1-1",
    payment_id="pay_1",
    amount_minor=1000,
    currency="EUR",
    automatic_capture=True,
    card=Card("4242424242424242", 12, 2040),
    payment_method={"type": "card"},
)
FIRST = NetworkTransaction(
    scheme="visa",
    id="483297487231504",
    amount_minor=1,
    currency="EUR",
    on=date(2026, 11, 1),
    connector_account="a",
)


def by(reason: Reason | None) -> Call:
    told = None if reason is None else FIRST
    return replace(CALL, stored=StoredCredential(token="pm_1", reason=reason), network_transaction=told)


def adyen(call: Call) -> Any:
    return bodies.payment(call, merchant_account="M", secret=b"s" * 32, copy_metadata=False)


def test_a_card_that_was_not_saved_is_said_to_be_nothing() -> None:
    assert forms.confirmation(CALL, "pm_x")["off_session"] is None
    assert (adyen(CALL).shopperInteraction, adyen(CALL).recurringProcessingModel) == ("Ecommerce", None)


def test_its_customer_asks() -> None:
    body = adyen(by(None))
    assert (body.shopperInteraction, body.recurringProcessingModel) == ("Ecommerce", "CardOnFile")
    assert "networkTxReference" not in (body.additionalData or {})
    assert forms.confirmation(by(None), "pm_x")["off_session"] is None


@pytest.mark.parametrize(
    ("reason", "model"),
    [
        ("recurring", "Subscription"),
        ("installment", "Subscription"),
        ("unscheduled", "UnscheduledCardOnFile"),
        ("delayed", "UnscheduledCardOnFile"),
        ("no_show", "UnscheduledCardOnFile"),
    ],
)
def test_its_merchant_asks_and_says_why(reason: Reason, model: str) -> None:
    body = adyen(by(reason))
    assert (body.shopperInteraction, body.recurringProcessingModel) == ("ContAuth", model)
    assert body.additionalData["networkTxReference"] == FIRST.id
    assert body.authenticationData is None
    assert forms.confirmation(by(reason), "pm_x")["off_session"] is True


def test_the_sandbox_is_told_all_of_it() -> None:
    connector = SandboxCard(
        ConnectorAccount(id="a", connector="sandbox_card", mode="test", base_url="http://nowhere", key="k")
    )
    _, sent = connector._order(by("no_show"))
    body = sent.model_dump(exclude_none=True)
    assert body["off_session"] is True
    assert body["stored"] == {
        "initiator": "merchant",
        "reason": "no_show",
        "network_transaction_id": FIRST.id,
    }
    _, sent = connector._order(by(None))
    assert sent.model_dump(exclude_none=True)["stored"] == {"initiator": "customer"}
