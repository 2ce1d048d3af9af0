"""The same attempt has the same key for ever, and no other attempt, call or account has it."""

import itertools
import string
from typing import get_args

import pytest

from payonce.connectors.keys import Purpose, UpstreamKeys

KEYS = UpstreamKeys(b"a secret of the cell", "acct_1")


def test_a_key_stays_what_it_is() -> None:
    """A changed derivation would be another key for an attempt that is under way: another charge."""
    assert KEYS.key("pay_1-1", "send") == "1UdwmvpQAGGYlq6n8dILyIdp4eNY93AF"


def test_no_two_calls_share_a_key() -> None:
    made = [
        UpstreamKeys(secret, identity).key(reference, purpose)
        for secret, identity, reference, purpose in itertools.product(
            (b"one", b"two"), ("acct_1", "acct_2"), ("pay_1-1", "pay_1-2", "pay_11-"), get_args(Purpose)
        )
    ]
    assert len(set(made)) == len(made)


def test_it_has_the_length_and_the_characters_that_are_asked_for() -> None:
    key = KEYS.key("pay_1-1", "send", length=40, alphabet=string.digits)
    assert len(key) == 40
    assert set(key) <= set(string.digits)


@pytest.mark.parametrize(("length", "alphabet"), [(21, string.ascii_letters), (127, "01"), (64, "aab")])
def test_a_key_that_could_be_met_by_chance_is_none(length: int, alphabet: str) -> None:
    with pytest.raises(ValueError, match="too few"):
        KEYS.key("pay_1-1", "send", length=length, alphabet=alphabet)


def test_the_secret_does_not_show() -> None:
    assert "secret" not in repr(KEYS)
