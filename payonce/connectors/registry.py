"""Finds connectors by name: the entry points of installed distributions, and our own without installation."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Final, cast

from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.base import AccountForm, Connector, ConnectorAccount
from payonce.connectors.razorpay.connector import Razorpay
from payonce.connectors.sandbox import switches
from payonce.connectors.sandbox.card import SandboxCard
from payonce.connectors.sandbox.upi import SandboxUpi
from payonce.connectors.sandbox.wallet import SandboxWallet
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import Rejected

GROUP: Final = "payonce.connectors"

Factory = Callable[[ConnectorAccount], Connector]
Registry = Mapping[str, Callable[[], Factory]]
"""What loads each connector's class; only those that an account names are loaded."""

_BUILT_IN: Final[dict[str, Factory]] = {
    Razorpay.name: Razorpay,
    SandboxCard.name: SandboxCard,
    SandboxUpi.name: SandboxUpi,
    SandboxWallet.name: SandboxWallet,
    Stripe.name: Stripe,
    Adyen.name: Adyen,
}


SWITCHES: Final = switches.SWITCHES
"""Members of a payment's metadata that connectors obey in test mode, and what is wrong with a value of each."""


def installed() -> Registry:
    """Every connector by name. A distribution's entry point comes before the built-in of the same name."""
    built_in = {name: (lambda factory=factory: factory) for name, factory in _BUILT_IN.items()}
    found = {
        point.name: (lambda point=point: cast("Factory", point.load())) for point in entry_points(group=GROUP)
    }
    return {**built_in, **found}


def open_connectors(
    accounts: Sequence[ConnectorAccount], *, registry: Registry | None = None
) -> dict[str, Connector]:
    """One connector per account, by account id. Opens no connection.

    Raises `Rejected` for a connector that does not exist, for two accounts with one id, for two of one connector
    whose callbacks the same secret verifies, and for an account that its connector refuses.
    """
    known = installed() if registry is None else registry
    ids = [account.id for account in accounts]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise Rejected(f"Two connector accounts have the id {id_!r}.")
    factories = [_load(account, known) for account in accounts]
    for factory in factories:
        _refuse_shared(factory, [each for each, of in zip(accounts, factories, strict=True) if of is factory])
    return {account.id: _open(factory, account) for account, factory in zip(accounts, factories, strict=True)}


def _refuse_shared(factory: Factory, accounts: Sequence[ConnectorAccount]) -> None:
    """Raises `Rejected` where a callback could be of either of two accounts: they have one address."""
    form: AccountForm | None = getattr(factory, "account_form", None)
    if form is None or form.callbacks_say_whose:
        return
    for name in (secret.name for secret in form.secrets if secret.verifies_callbacks):
        whose: dict[str, str] = {}
        for account in accounts:
            for value in filter(None, account.secrets.get(name, ())):
                other = whose.setdefault(value, account.id)
                if other != account.id:
                    raise Rejected(
                        f"Accounts {other!r} and {account.id!r} have the same {name}: a callback could be of either."
                        " Give each a webhook endpoint of its own, or enter them with `payonce accounts add`."
                    )


def _open(factory: Factory, account: ConnectorAccount) -> Connector:
    try:
        return factory(account)
    except ValueError as error:
        raise Rejected(f"Account {account.id!r}: {error}") from error


def _load(account: ConnectorAccount, known: Registry) -> Factory:
    if account.connector not in known:
        names = ", ".join(sorted(known))
        raise Rejected(f"Account {account.id!r}: no connector {account.connector!r}. Known are: {names}.")
    return known[account.connector]()
