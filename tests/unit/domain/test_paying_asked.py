"""What a create may ask that is paid with a saved card, and where it may go."""

from typing import Any

import pytest

from payonce.domain.capabilities import Required
from payonce.domain.errors import InvalidRequest
from payonce.domain.payment_methods import Setup
from payonce.domain.routing import Saved, Wanted, choose
from payonce.domain.saved_cards import check_paying
from payonce.domain.sca import HandedIn, Sca
from tests.unit.domain.test_routing import FakeReach, account

CAVV = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv="A" * 28, ds_transaction_id="d" * 36)
PLAIN: dict[str, Any] = {
    "token": "pm_1",
    "cvc": None,
    "off_session": False,
    "reason": None,
    "setup": None,
    "sca": None,
    "authentication": None,
}
UNATTENDED = {**PLAIN, "off_session": True, "reason": "recurring"}


@pytest.mark.parametrize(
    "asked",
    [
        PLAIN,
        {**PLAIN, "cvc": "123", "setup": Setup.OFF_SESSION, "authentication": CAVV},
        UNATTENDED,
        {**UNATTENDED, "sca": Sca(challenge="avoid")},
    ],
)
def test_what_may_be_asked(asked: dict[str, Any]) -> None:
    check_paying(**asked)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"token": None}, "/off_session"),
        ({"reason": None}, "/reason"),
        ({"off_session": False}, "/reason"),
        ({"setup": Setup.ON_SESSION}, "/setup"),
        ({"authentication": CAVV}, "/authentication"),
        ({"cvc": "123"}, "/payment_method/cvc"),
        ({"sca": Sca(challenge="force")}, "/sca/challenge"),
    ],
)
def test_what_is_refused_beside_off_session(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_paying(**{**UNATTENDED, **changes})
    assert (refused.value.problem_code, refused.value.pointer) == ("invalid_request", pointer)


def wanted(saved: Saved) -> Wanted:
    return Wanted(mode="test", method="card", currency="INR", amount_minor=1000, saved=saved)


def test_a_token_goes_to_its_own_account_alone_whatever_else_is_there() -> None:
    reach = FakeReach(stored_credentials=frozenset({"token"}))
    reaches = {"one": reach, "two": reach}
    saved = Saved(tokens_at=frozenset({"two"}), vaulted=False)
    assert choose([account("one"), account("two")], reaches, wanted(saved)).account_id == "two"


def test_the_number_goes_anywhere_on_session_and_off_session_where_it_is_said_to_be_saved() -> None:
    says = FakeReach(stored_credentials=frozenset({"number"}))
    accounts, reaches = [account("one"), account("two")], {"one": FakeReach(), "two": says}
    attended = Saved(tokens_at=frozenset(), vaulted=True)
    unattended = Saved(tokens_at=frozenset(), vaulted=True, by_merchant=True)
    assert choose(accounts, reaches, wanted(attended)).account_id == "one"
    assert choose(accounts, reaches, wanted(unattended)).account_id == "two"


def test_a_browser_is_needed_of_nobody_who_is_not_there() -> None:
    needs = (Required(pointer="/browser/ip", attended=True),)
    reach = FakeReach(required=needs, stored_credentials=frozenset({"number"}))
    unattended = Saved(tokens_at=frozenset(), vaulted=True, by_merchant=True)
    assert choose([account("one")], {"one": reach}, wanted(unattended)).account_id == "one"
    with pytest.raises(InvalidRequest) as refused:
        choose([account("one")], {"one": reach}, wanted(Saved(tokens_at=frozenset(), vaulted=True)))
    assert refused.value.problem_code == "data_required"
