"""The Temporal server of the bench: production's settings, and only where it was built."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.temporal_server import (
    DEVELOPMENT,
    LIMITS,
    SERVICES,
    SHARDS,
    chosen_server,
    configuration,
    dynamic_settings,
    running_server,
)
from devstack.errors import StackError
from devstack.parts import CHECKOUT, SERVER_SETTINGS, TEMPORAL_GOGC

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]["temporal"]
AT = {name: (7000 + number, 7100 + number) for number, name in enumerate(SERVICES)}


def test_the_server_is_set_as_the_image_of_compose_is() -> None:
    given = COMPOSE["environment"]
    assert str(SHARDS) == given["NUM_HISTORY_SHARDS"]
    assert given["GOGC"] == TEMPORAL_GOGC
    version = re.search(r"^TEMPORAL = v(\d+\.\d+)\.", (CHECKOUT / "Makefile").read_text(), re.M)
    assert version is not None
    assert COMPOSE["image"].startswith(f"temporalio/server:{version[1]}.")


def test_production_s_dynamic_settings_hold_and_no_limit_on_requests_does() -> None:
    settings = dynamic_settings()
    for name, value in yaml.safe_load(SERVER_SETTINGS.read_text()).items():
        assert settings[name] == value
    assert set(LIMITS) <= settings.keys()


def test_every_service_has_ports_of_its_own_on_loopback(tmp_path: Path) -> None:
    made = configuration(5432, AT, tmp_path / "dynamic.yaml")
    ports = [port for service in made["services"].values() for port in list(service["rpc"].values())[:2]]
    assert len(ports) == len(set(ports)) == 2 * len(SERVICES)
    assert all(service["rpc"]["bindOnLocalHost"] for service in made["services"].values())
    stores = made["persistence"]["datastores"]
    assert {store["sql"]["connectAddr"] for store in stores.values()} == {"127.0.0.1:5432"}
    assert {store["sql"]["databaseName"] for store in stores.values()} == {"temporal", "temporal_visibility"}


async def test_where_nobody_has_built_it_the_command_that_does_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="make bench"):
        async with running_server(tmp_path):
            pass


async def test_the_development_server_is_each_stack_s_own() -> None:
    async with chosen_server(DEVELOPMENT) as server:
        assert server is None


@pytest.mark.parametrize(
    ("target", "builds"), [("bench", True), ("bench-development", False), ("test", False), ("setup", False)]
)
def test_only_the_bench_builds_a_server(target: str, builds: bool) -> None:
    program = shutil.which("make")
    assert program is not None
    dry = subprocess.run(
        [program, "--dry-run", "--always-make", target],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ("go install go.temporal.io/server" in dry.stdout) is builds
