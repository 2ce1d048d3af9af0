"""Which connector account an attempt goes to."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from payonce.domain.capabilities import ANY_AMOUNT, Amounts, Required
from payonce.domain.errors import InvalidRequest
from payonce.domain.routing import Because, ConnectorAccount, Route, Wanted, choose
from payonce.domain.sca import Sca


@dataclass(frozen=True)
class FakeReach:
    methods: frozenset[str] = frozenset({"card"})
    currencies: frozenset[str] | None = None
    capture_methods: frozenset[str] = frozenset({"automatic"})
    at_once: frozenset[str] = frozenset()
    void: bool = True
    brands: frozenset[str] | None = None
    amounts: Amounts = ANY_AMOUNT
    required: tuple[Required, ...] = ()
    three_ds: frozenset[str] = frozenset()
    exemptions: frozenset[str] = frozenset()
    stored_credentials: frozenset[str] = frozenset()
    mandates: bool = False


def wanted(**members: Any) -> Wanted:
    return Wanted(**{"mode": "test", "method": "card", "currency": "INR", "amount_minor": 1099} | members)


def account(id_: str, mode: str = "test") -> ConnectorAccount:
    return ConnectorAccount(id=id_, connector=f"{id_}_connector", mode=mode, base_url="x", key="secret")


RUPEES = FakeReach(currencies=frozenset({"INR"}))


def test_the_first_account_that_serves_the_payment_takes_it() -> None:
    accounts = [account("live", "live"), account("rupees"), account("all"), account("more")]
    reaches = {"live": FakeReach(), "rupees": RUPEES, "all": FakeReach(), "more": FakeReach()}
    taken = [
        choose(accounts, reaches, wanted(mode=mode, currency=currency))
        for mode, currency in [("test", "INR"), ("test", "USD"), ("live", "USD")]
    ]
    assert taken == [
        Route("rupees_connector", "rupees"),
        Route("all_connector", "all"),
        Route("live_connector", "live"),
    ]


def test_a_method_that_nobody_takes_is_refused_with_its_pointer() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, wanted(method="upi"))
    assert refused.value.problem_code == "payment_method_not_supported"
    assert refused.value.pointer == "/payment_method/type"


def test_a_mode_without_an_account_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, wanted(mode="live"))
    assert refused.value.problem_code == "payment_method_not_supported"


def test_a_currency_that_nobody_takes_is_refused_with_its_pointer() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": RUPEES}, wanted(currency="USD"))
    assert refused.value.problem_code == "currency_not_supported"
    assert refused.value.pointer == "/currency"


def test_a_way_to_capture_that_nobody_has_is_refused_with_its_pointer() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, wanted(capture_method="manual"))
    assert refused.value.problem_code == "capture_method_not_supported"
    assert refused.value.pointer == "/capture_method"


def test_the_account_that_captures_as_asked_takes_the_payment() -> None:
    manual = FakeReach(capture_methods=frozenset({"manual"}))
    accounts, reaches = [account("one"), account("two")], {"one": FakeReach(), "two": manual}
    taken = choose(accounts, reaches, wanted(capture_method="manual"))
    assert taken.account_id == "two"


def test_an_accounts_callback_url_is_that_of_its_connector_unless_it_has_one_of_its_own() -> None:
    at_home = replace(account("one"), public_url="https://api.example")
    assert at_home.callback_url == "https://api.example/v1/connectors/one_connector/callbacks"
    assert at_home.code_url("pay_1") == "https://api.example/v1/payments/pay_1/qr"
    assert replace(at_home, options={"callback_url": "https://tunnel.example/"}).callback_url == (
        "https://tunnel.example/"
    )
    assert account("one").callback_url is None


def test_no_account_is_refused_too() -> None:
    with pytest.raises(InvalidRequest):
        choose([], {}, wanted())


def test_an_accounts_key_shows_in_no_repr() -> None:
    assert "secret" not in repr(account("one"))


RUPEE_RULES = Amounts(smallest={"INR": 100}, largest={"INR": 10_000}, multiple_of={"INR": 10})


@pytest.mark.parametrize(
    ("reach", "asked", "code", "pointers"),
    [
        (
            FakeReach(brands=frozenset({"visa"})),
            {"brand": "amex"},
            "payment_method_not_supported",
            "/payment_method",
        ),
        (FakeReach(amounts=RUPEE_RULES), {"amount_minor": 90}, "amount_not_supported", "/amount"),
        (FakeReach(amounts=RUPEE_RULES), {"amount_minor": 10_010}, "amount_not_supported", "/amount"),
        (FakeReach(amounts=RUPEE_RULES), {"amount_minor": 101}, "amount_not_supported", "/amount"),
        (
            FakeReach(required=(Required(pointer="/customer/email"), Required(pointer="/browser/ip"))),
            {},
            "data_required",
            "/customer/email /browser/ip",
        ),
    ],
)
def test_what_an_account_does_not_take_is_refused_and_the_next_one_takes_it(
    reach: FakeReach, asked: dict[str, Any], code: str, pointers: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": reach}, wanted(**asked))
    assert refused.value.problem_code == code
    assert list(refused.value.pointers) == pointers.split()
    accounts, reaches = [account("one"), account("two")], {"one": reach, "two": FakeReach()}
    assert choose(accounts, reaches, wanted(**asked)).account_id == "two"


def test_an_account_that_takes_only_what_asks_for_it() -> None:
    quiet = replace(account("quiet"), options={"only_asked": "on"})
    accounts, reaches = [quiet, account("one")], {"quiet": FakeReach(), "one": FakeReach()}
    assert choose(accounts, reaches, wanted()) == Route("one_connector", "one", Because.SETTINGS)
    taken = choose(accounts, reaches, wanted(asked_for="quiet_connector"))
    assert taken == Route("quiet_connector", "quiet", Because.ASKED)
    live = [replace(each, mode="live") for each in accounts]  # there nobody asks
    assert choose(live, reaches, wanted(mode="live")).account_id == "quiet"


def test_a_connector_without_an_account_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": FakeReach()}, wanted(asked_for="other"))
    assert refused.value.pointer == "/metadata/sandbox_account"


def test_the_merchants_own_account_comes_first_and_the_attempt_says_why() -> None:
    own = replace(account("own"), merchant_id="mer_1", identity="acct_1")
    shared = replace(account("shared"), identity="acct_2")
    reaches = {"own": FakeReach(), "shared": FakeReach()}
    assert choose([own, shared], reaches, wanted()).because is Because.OWN
    assert choose([shared], reaches, wanted()).because is Because.SHARED


def test_what_fits_is_taken() -> None:
    reach = FakeReach(
        brands=frozenset({"visa"}),
        amounts=RUPEE_RULES,
        required=(
            Required(pointer="/customer/email"),
            Required(pointer="/browser/ip", currencies=frozenset({"EUR"})),
            Required(pointer="/customer/phone", methods=frozenset({"upi.qr"})),
        ),
    )
    asked = wanted(amount_minor=100, brand="visa", given=lambda pointer: pointer == "/customer/email")
    assert choose([account("one")], {"one": reach}, asked).account_id == "one"


@pytest.mark.parametrize(
    ("asked", "pointer", "fits"),
    [
        ({"handed_in": True}, "/authentication", FakeReach(three_ds=frozenset({"merchant"}))),
        ({"sca": Sca(challenge="force")}, "/sca/challenge", FakeReach(three_ds=frozenset({"acquirer"}))),
        (
            {"sca": Sca(exemption="low_value")},
            "/sca/exemption",
            FakeReach(exemptions=frozenset({"low_value"})),
        ),
    ],
)
def test_what_an_account_does_not_do_of_authentication_goes_to_one_that_does_or_is_refused(
    asked: dict[str, Any], pointer: str, fits: FakeReach
) -> None:
    without = FakeReach(
        three_ds=frozenset({"acquirer", "merchant"} - fits.three_ds),
        exemptions=frozenset({"low_value", "transaction_risk_analysis"} - fits.exemptions),
    )
    accounts = [account("without"), account("fits")]
    taken = choose(accounts, {"without": without, "fits": fits}, wanted(**asked))
    assert taken.account_id == "fits"
    with pytest.raises(InvalidRequest) as refused:
        choose(accounts, {"without": without, "fits": without}, wanted(**asked))
    assert refused.value.problem_code == "payment_method_not_supported"
    assert refused.value.pointer == pointer


def test_a_challenge_is_avoided_where_there_is_none() -> None:
    taken = choose([account("one")], {"one": FakeReach()}, wanted(sca=Sca(challenge="avoid")))
    assert taken.account_id == "one"


def test_a_card_is_saved_where_the_acquirer_gives_tokens() -> None:
    saves = FakeReach(stored_credentials=frozenset({"token"}))
    accounts, reaches = [account("one"), account("two")], {"one": FakeReach(), "two": saves}
    assert choose(accounts, reaches, wanted(saves_there=True)).account_id == "two"
    assert choose(accounts, reaches, wanted()).account_id == "one"
    with pytest.raises(InvalidRequest) as refused:
        choose(accounts[:1], reaches, wanted(saves_there=True))
    assert (refused.value.problem_code, refused.value.pointer) == ("payment_method_not_supported", "/setup")


@pytest.mark.parametrize("asked", [{"held": True}, {"capture_method": "manual"}])
def test_a_method_that_is_captured_at_once_goes_to_no_account_that_is_to_wait(asked: Any) -> None:
    """An account may authorize cards only, and capture UPI with its authorization."""
    both = frozenset({"automatic", "manual"})
    methods = frozenset({"card", "upi.qr"})
    reaches = {"one": FakeReach(methods=methods, capture_methods=both, at_once=frozenset({"upi.qr"}))}
    with pytest.raises(InvalidRequest):
        choose([account("one")], reaches, wanted(method="upi.qr", **asked))
    for possible in (wanted(method="upi.qr"), wanted(**asked)):
        assert choose([account("one")], reaches, possible).account_id == "one"
