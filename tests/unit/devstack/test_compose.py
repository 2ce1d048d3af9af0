"""docker-compose.yml starts the same commands, with the same variables, as the development stack."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack import parts
from devstack.parts import CHECKOUT, SEARCH_ATTRIBUTES, Part
from devstack.stack import PRODUCT, DevStack, StackOptions
from payonce.settings import Settings
from tests.support.tools import tool

# A container's metrics are reached from outside it, and from nowhere else.
DEVELOPMENT_ONLY = {
    *("PAYONCE_ALLOW_LOOPBACK_WEBHOOKS", "PAYONCE_METRICS_HOST"),
    "PAYONCE_RECEIPTS_REQUIREMENTS",  # the image has what they name
    *("PAYONCE_ALLOW_DEBUGGERS", "PAYONCE_VAULT_KEY_FILE"),
}
API_ONLY = {"PAYONCE_API_HOST", "PAYONCE_API_PORT", "PAYONCE_API_DATABASE_URL"}
# Not ours, so the image brings its own way to tell that it runs.
WITHOUT_HEALTH_CHECK = {"temporal-ui"}
ONE_SHOT = {"migrate", "logins", "temporal-schema", "temporal-namespace"}
ADDRESSES = {
    "PAYONCE_DATABASE_URL": "postgresql+psycopg://x",
    "PAYONCE_REDIS_URL": "redis://x",
    "PAYONCE_TEMPORAL_ADDRESS": "x:1",
    "PAYONCE_SANDBOX_ACQUIRER_URL": "http://x",
}

SANDBOX_KEY = "SANDBOX_ACQUIRER_KEY"
"""Needed with the sandbox only, which compose cannot say: the processes that use it do not start without."""

Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    return content


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> Services:
    found: Services = compose["services"]
    return found


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The PAYONCE_* variables that the development stack gives to the product."""
    options = StackOptions(directory=tmp_path_factory.mktemp("none"), parts=PRODUCT, environ=ADDRESSES)
    return {name for name in DevStack(options).product_environ() if name.startswith("PAYONCE_")} | API_ONLY


def ours(service: dict[str, Any]) -> set[str]:
    return {name for name in service["environment"] if name.startswith("PAYONCE_")}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("api", parts.api(number=1, port=1, environ={})),
        ("worker", parts.worker(environ={})),
        ("relay", parts.relay(environ={})),
        ("renderer", parts.renderer(environ={})),
    ],
)
def test_each_process_runs_the_development_stack_s_command(services: Services, name: str, part: Part) -> None:
    assert services[name]["command"] == ["python", *part.command.arguments[1:]]


def test_the_acquirer_runs_the_development_stack_s_command(services: Services) -> None:
    part = parts.acquirer(port=9090, ledger=Path("/data/ledger.sqlite"), key="k", environ={})
    expected = ["0.0.0.0" if word == "127.0.0.1" else word for word in part.command.arguments[1:]]
    assert services["acquirer"]["command"] == ["python", *expected]
    assert "ACQUIRER_KEY" in services["acquirer"]["environment"]


def test_the_development_server_has_production_s_settings(services: Services) -> None:
    temporal = parts.temporal(
        port=1, ui_port=None, database=Path("/data/db"), durable=True, settings={}, environ={}
    )
    production = yaml.safe_load(parts.SERVER_SETTINGS.read_text())
    settings = {name: values[0]["value"] for name, values in production.items()} | parts.ONE_SHARD_SETTINGS
    known = parts.temporal_binary().read_bytes()
    for name, value in settings.items():
        assert name.encode() in known  # the server says nothing about one that it does not know
        assert f"--dynamic-config-value={name}={json.dumps(value)}" in temporal.command.arguments
    folder, _, _ = str(services["temporal"]["volumes"][0]).partition(":")
    name = Path(services["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]).name
    assert CHECKOUT / folder / name == parts.SERVER_SETTINGS


def test_the_api_has_every_variable_of_the_development_stack(
    services: Services, development: set[str]
) -> None:
    assert development - DEVELOPMENT_ONLY - ours(services["api"]) == set()


@pytest.mark.parametrize("name", ["worker", "relay", "renderer", "migrate"])
def test_the_other_processes_have_them_too(services: Services, development: set[str], name: str) -> None:
    assert development - DEVELOPMENT_ONLY - API_ONLY - ours(services[name]) == set()


@pytest.mark.parametrize("name", ["api", "worker", "relay", "renderer", "migrate"])
def test_who_migrates_owns_the_tables_and_nobody_else_logs_in_so(services: Services, name: str) -> None:
    environment = services[name]["environment"]
    user = environment["PAYONCE_DATABASE_URL"].removeprefix("postgresql+psycopg://").partition(":")[0]
    logins = {"migrate": "payonce", "relay": "payonce_engine", "renderer": "payonce_engine"}
    assert user == logins.get(name, "payonce_worker")
    assert ("PAYONCE_API_DATABASE_URL" in environment) == (name == "api")


@pytest.mark.parametrize("name", ["api", "worker", "relay", "renderer", "migrate"])
def test_only_who_saves_cards_or_sends_them_knows_the_vault(services: Services, name: str) -> None:
    vault = {f"PAYONCE_{field.upper()}" for field in Settings.model_fields if field.startswith("vault_")}
    expected = vault - DEVELOPMENT_ONLY if name in ("api", "worker") else set()
    assert ours(services[name]) & vault == expected


@pytest.mark.parametrize("name", ["api", "worker", "relay", "renderer", "migrate"])
def test_every_variable_is_a_setting(services: Services, name: str) -> None:
    assert ours(services[name]) <= {f"PAYONCE_{field.upper()}" for field in Settings.model_fields}


def test_the_namespace_has_the_development_stack_s_search_attributes() -> None:
    script = (CHECKOUT / "deploy/temporal/create-namespace.sh").read_text()
    assert dict(re.findall(r"(\w+)=(Keyword|Int|Datetime)\b", script)) == SEARCH_ATTRIBUTES
    page = (CHECKOUT / "docs/operations.md").read_text()
    assert dict(re.findall(r"--name (\w+) --type (\w+)", page)) == SEARCH_ATTRIBUTES


def test_what_runs_on_has_a_health_check_and_what_runs_once_has_none(services: Services) -> None:
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked == services.keys() - ONE_SHOT - WITHOUT_HEALTH_CHECK


def test_every_service_waits_for_services_that_exist(services: Services) -> None:
    for service in services.values():
        for name, waiting in service.get("depends_on", {}).items():
            once = waiting["condition"] == "service_completed_successfully"
            assert once == (name in ONE_SHOT)
            assert name in services


def test_nothing_listens_on_the_host_s_other_interfaces(services: Services) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", PRODUCT)
def test_each_process_serves_metrics_on_a_port_of_its_own_and_not_on_the_host(
    services: Services, name: str
) -> None:
    port = services[name]["environment"]["PAYONCE_METRICS_PORT"]
    assert port != services["api"]["environment"]["PAYONCE_API_PORT"]
    assert not [each for each in services[name].get("ports", []) if each.endswith(f":{port}")]


def test_every_named_volume_is_declared(compose: dict[str, Any], services: Services) -> None:
    used = {
        mount.partition(":")[0]
        for service in services.values()
        for mount in service.get("volumes", [])
        if not mount.startswith(".")
    }
    assert used == compose["volumes"].keys()


def test_mounted_files_exist(services: Services) -> None:
    for service in services.values():
        for mount in service.get("volumes", []):
            if mount.startswith("."):
                assert (CHECKOUT / mount.partition(":")[0]).exists()


def test_secrets_come_from_the_environment_and_the_example_has_none() -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(
        line.split("=", 1)
        for line in (CHECKOUT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert {name for name, value in example.items() if not value} == required | {SANDBOX_KEY}
    assert set(re.findall(rf"\$\{{{SANDBOX_KEY}(.*?)\}}", text)) == {":-"}


def test_compose_itself_reads_the_file() -> None:
    asked = re.findall(r"\$\{(\w+):\?", (CHECKOUT / "docker-compose.yml").read_text())
    ran = subprocess.run(
        [
            tool("docker-compose", of="docker-compose"),
            "--file",
            str(CHECKOUT / "docker-compose.yml"),
            "config",
        ],
        env={**os.environ, **dict.fromkeys(asked, "set")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert set(yaml.safe_load(ran.stdout)["services"]) >= {"api", "worker", "relay"}
