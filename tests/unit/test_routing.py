"""Which connector account an attempt goes to."""

from dataclasses import dataclass

import pytest

from payonce.domain.errors import InvalidRequest
from payonce.domain.routing import ConnectorAccount, Route, choose


@dataclass(frozen=True)
class FakeReach:
    methods: frozenset[str] = frozenset({"card"})
    currencies: frozenset[str] | None = None


def account(id_: str, mode: str = "test") -> ConnectorAccount:
    return ConnectorAccount(id=id_, connector=f"{id_}_connector", mode=mode, base_url="x", key="secret")


RUPEES = FakeReach(currencies=frozenset({"INR"}))


def test_the_first_account_that_serves_the_payment_takes_it() -> None:
    accounts = [account("live", "live"), account("rupees"), account("all"), account("more")]
    reaches = {"live": FakeReach(), "rupees": RUPEES, "all": FakeReach(), "more": FakeReach()}
    taken = [
        choose(accounts, reaches, mode=mode, method="card", currency=currency)
        for mode, currency in [("test", "INR"), ("test", "USD"), ("live", "USD")]
    ]
    assert taken == [
        Route("rupees_connector", "rupees"),
        Route("all_connector", "all"),
        Route("live_connector", "live"),
    ]


def test_a_method_that_nobody_takes_is_refused_with_its_pointer() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, mode="test", method="upi", currency="INR")
    assert refused.value.problem_code == "payment_method_not_supported"
    assert refused.value.pointer == "/payment_method/type"


def test_a_mode_without_an_account_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, mode="live", method="card", currency="INR")
    assert refused.value.problem_code == "payment_method_not_supported"


def test_a_currency_that_nobody_takes_is_refused_with_its_pointer() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": RUPEES}, mode="test", method="card", currency="USD")
    assert refused.value.problem_code == "currency_not_supported"
    assert refused.value.pointer == "/currency"


def test_no_account_is_refused_too() -> None:
    with pytest.raises(InvalidRequest):
        choose([], {}, mode="test", method="card", currency="INR")


def test_an_accounts_key_shows_in_no_repr() -> None:
    assert "secret" not in repr(account("one"))
