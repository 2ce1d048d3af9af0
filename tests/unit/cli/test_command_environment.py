"""Commands find the stack of `make dev`, and never take it for a deployment that was named."""

import json
import os
from pathlib import Path

import pytest

from payonce.cli import base


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which `make dev` runs; what a command sets is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PAYONCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    written = tmp_path / base.ENVIRON_JSON
    written.parent.mkdir()
    written.write_text(json.dumps({"PAYONCE_DATABASE_URL": "postgresql://dev", "PAYONCE_CELL": "d"}))
    return written


def test_a_command_beside_make_dev_works_on_its_stack(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base.use_dev_stack()
    assert (os.environ["PAYONCE_DATABASE_URL"], os.environ["PAYONCE_CELL"]) == ("postgresql://dev", "d")
    assert "make dev" in capsys.readouterr().err


def test_a_command_anywhere_in_the_checkout_works_on_its_stack(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.parents[1] / "docs" / "adr").mkdir(parents=True)
    monkeypatch.chdir(here.parents[1] / "docs" / "adr")
    base.use_dev_stack()
    assert os.environ["PAYONCE_DATABASE_URL"] == "postgresql://dev"


def test_who_names_the_stacks_own_database_needs_nothing_more(here: Path) -> None:
    os.environ["PAYONCE_DATABASE_URL"] = "postgresql://dev"
    base.use_dev_stack()
    assert os.environ["PAYONCE_CELL"] == "d"


def test_a_deployment_that_is_named_is_the_one(here: Path) -> None:
    os.environ["PAYONCE_DATABASE_URL"] = "postgresql://production"
    base.use_dev_stack()
    assert os.environ["PAYONCE_DATABASE_URL"] == "postgresql://production"
    assert "PAYONCE_CELL" not in os.environ


@pytest.mark.parametrize("content", [None, "", "{"])
def test_without_a_stack_nothing_is_set(here: Path, content: str | None) -> None:
    if content is None:
        here.unlink()
    else:
        here.write_text(content)
    base.use_dev_stack()
    assert "PAYONCE_DATABASE_URL" not in os.environ
