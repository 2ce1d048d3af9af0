"""The bodies of requests about saved cards."""

from typing import Literal

from api.schemas.payments import Body, Card, Text100


class SavedFor(Body):
    """Whose card it is, as the merchant knows them; whoever pays with it names the same."""

    id: Text100


class CreatePaymentMethod(Body):
    """The body of `POST /v1/payment_methods`."""

    type: Literal["card"]
    card: Card
    customer: SavedFor | None = None
