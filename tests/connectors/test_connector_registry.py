"""Finding connectors by name."""

from dataclasses import replace

import pytest

from payonce.connectors.base import ConnectorAccount
from payonce.connectors.registry import installed, open_connectors
from payonce.connectors.sandbox.card import SandboxCard
from payonce.domain.errors import Rejected


def account(id_: str, connector: str = "sandbox_card") -> ConnectorAccount:
    return ConnectorAccount(
        id=id_, connector=connector, mode="test", base_url="http://127.0.0.1:1", key="secret"
    )


class OtherConnector(SandboxCard):
    """What a third party would install."""

    name = "other"


async def test_there_is_one_connector_per_account() -> None:
    connectors = open_connectors([account("one"), account("two")])
    assert set(connectors) == {"one", "two"}
    assert connectors["one"] is not connectors["two"]
    for connector in connectors.values():
        assert connector.name == "sandbox_card"
        await connector.close()


@pytest.mark.parametrize(
    ("connector", "name"), [("stripe", "webhook_secret"), ("razorpay", "webhook_secret")]
)
def test_two_accounts_whose_callbacks_one_secret_verifies_are_refused(connector: str, name: str) -> None:
    """In the settings they have one address, so that a callback could be of either."""
    secrets = {"key": ("rzp_test_1:secret",), name: ("whsec_same",)}
    both = [replace(account(id_, connector), secrets=secrets) for id_ in ("one", "two")]
    with pytest.raises(Rejected) as refused:
        open_connectors(both)
    assert refused.value.message.startswith(f"Accounts 'one' and 'two' have the same {name}")
    assert "whsec_same" not in refused.value.message


async def test_two_accounts_with_secrets_of_their_own_or_none_are_opened() -> None:
    for one, two in (("whsec_1", "whsec_2"), ("", "")):
        both = [
            replace(
                account(id_, "stripe"),
                secrets={"key": ("sk_test_1",), "webhook_secret": (secret,)},
                upstream_secret=b"cell" * 8,
            )
            for id_, secret in (("one", one), ("two", two))
        ]
        for connector in open_connectors(both).values():
            await connector.close()


async def test_a_connector_of_a_third_party_is_found_by_its_name() -> None:
    registry = {**installed(), "other": lambda: OtherConnector}
    connectors = open_connectors([account("one", "other")], registry=registry)
    assert isinstance(connectors["one"], OtherConnector)
    await connectors["one"].close()


def test_only_the_connectors_that_are_named_are_loaded() -> None:
    def broken() -> type[SandboxCard]:
        raise ImportError("not installed completely")

    assert open_connectors([], registry={"broken": broken}) == {}


def test_an_unknown_connector_is_named_with_the_known_ones() -> None:
    with pytest.raises(Rejected, match=r"no connector 'sandbox_crad'\. Known are: sandbox_card"):
        open_connectors([account("one", "sandbox_crad")], registry={"sandbox_card": lambda: SandboxCard})


async def test_two_accounts_with_one_id_are_refused() -> None:
    with pytest.raises(Rejected, match="one"):
        open_connectors([account("one", "other"), account("one")], registry={"other": lambda: OtherConnector})


def test_what_a_connector_refuses_is_said_of_its_account() -> None:
    with pytest.raises(Rejected, match=r"^Account 'two': the header Authorization cannot be sent"):
        open_connectors([account("one"), replace(account("two"), key="secret\n")])


def test_an_account_does_not_show_its_key() -> None:
    assert "secret" not in repr(account("one"))
