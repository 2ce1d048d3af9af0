"""What is wrong with a PAYONCE_* variable is said in one line that names it, and tells no value."""

import json
import os
import re
from pathlib import Path

import pytest

from devstack.parts import CHECKOUT
from devstack.stack import DEFAULT_PORTS
from payonce.settings import NOT_SETTINGS, Settings, SettingsWrong, blaming, settings_from_environment

FIT = {
    "PAYONCE_DATABASE_URL": "postgresql+psycopg://payonce@db/payonce",
    "PAYONCE_REDIS_URL": "redis://redis",
    "PAYONCE_TEMPORAL_ADDRESS": "temporal:7233",
    "PAYONCE_DERIVATION_KEY": "d" * 32,
}
ACCOUNT = {"id": "a", "connector": "c", "mode": "test", "base_url": "https://a.example", "key": "SECRET"}

NO_SERVERS = [
    *(
        "pay.SECRET",
        "https:",
        "https://",
        "https://:443",
        "https://SECRET:99999",
        "https://[::1",
        "ftp://SECRET",
    ),
    *("https://SECRET/?a=1", "https://SECRET/#a", " https://SECRET", "https://SEC\nRET", "https://SÉCRET"),
]


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fit as it can be, and without what this machine's own says."""
    for name in [name for name in os.environ if name.upper().startswith("PAYONCE_")]:
        monkeypatch.delenv(name)
    for name, value in FIT.items():
        monkeypatch.setenv(name, value)


def test_what_is_fit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("payonce_live", "true")  # case does not count
    monkeypatch.setenv("PAYONCE_LOG_LEVEL", "DEBUG")
    assert settings_from_environment().live
    assert settings_from_environment().log_level == "debug"


@pytest.mark.parametrize("name", sorted(FIT))
def test_a_variable_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsWrong, match=rf"^{name}: it is not set$"):
        settings_from_environment()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PAYONCE_DERIVATION_KEY", "SECRET", "at least 32"),
        ("PAYONCE_DATABASE_URL", "mysql://SECRET@db/x", "must begin with postgresql"),
        ("PAYONCE_DATABASE_URL", "", "must begin with postgresql"),
        ("PAYONCE_REDIS_URL", "http://SECRET", "must begin with redis"),
        ("PAYONCE_REDIS_URL", "redis://redis:SECRET", "a port of 1 to 65535"),
        ("PAYONCE_TEMPORAL_ADDRESS", "", "a host, a colon and a port"),
        ("PAYONCE_TEMPORAL_ADDRESS", "SECRET", "a host, a colon and a port"),
        ("PAYONCE_TEMPORAL_ADDRESS", "SECRET:99999", "a host, a colon and a port"),
        ("PAYONCE_API_PORT", "tcp://SECRET:80", "integer"),
        ("PAYONCE_API_PORT", "99999", "less than or equal to 65535"),
        ("PAYONCE_PUBLIC_URL", "SECRET.example", "must have a host"),
        ("PAYONCE_PUBLIC_URL", "ftp://SECRET.example", "must begin with https:// or http://"),
        ("PAYONCE_CALLBACKS_URL", "https://SECRET.example:x", "a port of 1 to 65535"),
        ("PAYONCE_SANDBOX_ACQUIRER_URL", "SECRET", "must have a host"),
        ("PAYONCE_LOG_LEVEL", "SECRET", "'debug', 'info', 'warning', 'error' or 'critical'"),
        ("PAYONCE_LIVE", "SECRET", "boolean"),
        ("PAYONCE_DURABILITY", "SECRET", "'standby' or 'storage'"),
        ("PAYONCE_CELL", "SECRET", "pattern"),
        ("PAYONCE_TEMPORAL_TLS_CA", "/SECRET", "not point to a file"),
        ("PAYONCE_TEMPORAL_NAMESPACE", "", "at least 1"),
        ("PAYONCE_API_PORT", "-1", "greater than or equal to 0"),
        ("PAYONCE_MERCHANT_WRITES_PER_S", "inf", "finite"),
        ("PAYONCE_MERCHANT_READS_BURST", "1" + "0" * 30, "less than or equal to"),
        ("PAYONCE_CALLBACKS_PER_S", "1e-300", "greater than or equal to"),
        ("PAYONCE_SANDBOX_ACQUIRER_KEY", "SECRET\n", "visible"),
        ("PAYONCE_SANDBOX_ACQUIRER_KEY", "SECRET ", "visible"),
        ("PAYONCE_SANDBOX_ACQUIRER_KEY", "SÉCRET", "visible"),
        *(
            (name, value, "must ")
            for name in ("PAYONCE_PUBLIC_URL", "PAYONCE_CALLBACKS_URL", "PAYONCE_SANDBOX_ACQUIRER_URL")
            for value in NO_SERVERS
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_and_not_shown(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsWrong, match=rf"^{name}: .*{said}") as refused:
        settings_from_environment()
    assert "SECRET" not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("name", ["PAYONCE_CONNECTOR_ACCOUNTS", "PAYONCE_WEBHOOK_SEALING_KEYS"])
@pytest.mark.parametrize("value", ["[{'id': 'SECRET'}]", "SECRET", "[", ""])
def test_bad_json_is_named_with_its_place_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsWrong, match=rf"^{name}: it is no JSON: .*, line 1, column \d+$") as refused:
        settings_from_environment()
    assert "SECRET" not in refused.value.message


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({**ACCOUNT, "mode": "SECRET"}, r"\[1\]\.mode: Input should be 'test' or 'live'"),
        ({**ACCOUNT, "SECRETS": 1}, r"\[1\]\.SECRETS: Extra inputs are not permitted"),
        ({**ACCOUNT, "id": ""}, r"\[1\]\.id: String should have at least 1"),
        (
            {**ACCOUNT, "base_url": "https://SECRET:99999"},
            r"\[1\]\.base_url: must be a URL with a port",
        ),
        (
            {**ACCOUNT, "options": {"callback_url": "api:8080/SECRET"}},
            r"\[1\]\.options: callback_url must have a host",
        ),
        ({"id": "a"}, r"\[1\]\.connector: Field required; PAYONCE_CONNECTOR_ACCOUNTS\[1\]\.mode: "),
    ],
)
def test_a_member_of_an_account_is_named_with_its_place(
    account: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYONCE_CONNECTOR_ACCOUNTS", json.dumps([ACCOUNT, account]))
    with pytest.raises(SettingsWrong, match=f"^PAYONCE_CONNECTOR_ACCOUNTS{said}") as refused:
        settings_from_environment()
    assert "SECRET" not in refused.value.message.replace("SECRETS", "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PAYONCE_DURABILTY", r" \(is PAYONCE_DURABILITY meant\?\)"),
        ("PAYONCE_TEMPORAL_TLS_CACERT", r" \(is PAYONCE_TEMPORAL_TLS_CERT meant\?\)"),
        ("PAYONCE_XYZZY", ""),
    ],
)
def test_an_unknown_variable_is_named_with_the_one_that_may_be_meant(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "SECRET")
    with pytest.raises(SettingsWrong, match=f"^{name}: there is no such setting{said}$"):
        settings_from_environment()


@pytest.mark.parametrize("level", ["debug", "INFO", "Warning"])
def test_a_level_is_read_however_it_is_written(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYONCE_LOG_LEVEL", level)
    assert settings_from_environment().log_level == level.lower()


def test_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYONCE_XYZZY", "1")
    monkeypatch.delenv("PAYONCE_REDIS_URL")
    monkeypatch.setenv("PAYONCE_CELL", "-")
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_XYZZY: .*; PAYONCE_REDIS_URL: .*; PAYONCE_CELL: "):
        settings_from_environment()


def test_what_the_documents_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [CHECKOUT / "README.md", CHECKOUT / ".env.example", CHECKOUT / "docker-compose.yml"]
    pages += sorted((CHECKOUT / "docs").glob("*.md"))
    named = {
        name for page in pages for name in re.findall(r"\bPAYONCE_[A-Z0-9_]*[A-Z0-9]\b", page.read_text())
    }
    known = {f"PAYONCE_{field.upper()}" for field in Settings.model_fields}
    assert named >= known
    assert named | {name for name, _ in DEFAULT_PORTS.values()} <= known | NOT_SETTINGS


def test_what_the_system_refuses_is_said_of_its_variable(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsWrong, match=r"^PAYONCE_API_PORT: Is a directory$"),
        blaming("PAYONCE_API_PORT"),
    ):
        tmp_path.open()
