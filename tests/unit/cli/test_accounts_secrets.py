"""`payonce accounts`: what it refuses before anything is written, and that it shows no secret."""

import io
from collections.abc import Callable

import pytest

from payonce.cli import accounts
from payonce.cli.base import CommandRefused
from payonce.connectors.base import AccountForm, SecretField

FORM = AccountForm(
    secrets=(SecretField("secret_key", "The secret key"), SecretField("more", "x", required=False))
)
SECRET = "sk_test_never_shown"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_secrets_come_from_standard_input(typed: Callable[[str], None]) -> None:
    typed(f"# a comment\nsecret_key = {SECRET}\n\n")
    assert accounts._secrets(FORM, None, every=True) == {"secret_key": SECRET}


@pytest.mark.parametrize("text", [f"other={SECRET}", SECRET, "more=x", "", f"secret_key={SECRET}\n{SECRET}"])
def test_what_is_no_secret_of_the_form_is_refused_without_showing_it(
    typed: Callable[[str], None], text: str
) -> None:
    typed(text)
    with pytest.raises(CommandRefused) as refused:
        accounts._secrets(FORM, None, every=True)
    assert SECRET not in refused.value.message


def test_a_connector_without_a_form_has_its_accounts_in_the_settings() -> None:
    with pytest.raises(CommandRefused, match="PAYONCE_CONNECTOR_ACCOUNTS"):
        accounts._form("sandbox_card")
    with pytest.raises(CommandRefused, match="no connector"):
        accounts._form("nobody")
