"""Setting up: whichever fit Python a machine has, no more than is needed, and locked."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devstack.parts import CHECKOUT

LOCKS = sorted(CHECKOUT.glob("requirements*.txt"))
MAKEFILE = CHECKOUT / "Makefile"
NEEDED = (
    "payonce needs Python 3.11 to 3.14 with venv (Debian, Ubuntu: apt-get install python3 python3-venv);"
    " none was found"
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory in which nothing is set up; its `bin` is all that `make` finds."""
    for name in ("requirements-stack.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    return tmp_path


def add_program(directory: Path, name: str, script: str) -> None:
    program = directory / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, "-f", str(MAKEFILE), *arguments],
        cwd=directory,
        env={"PATH": str(directory / "bin")},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("target", [".venv/.stack", ".venv/.ready"])
def test_a_machine_without_a_fit_python_is_told_in_one_line_what_to_install(
    elsewhere: Path, target: str
) -> None:
    add_program(elsewhere, "python3.13", "exit 127")  # as pyenv's that are not switched on
    add_program(elsewhere, "python3", 'exec "$0.none" "$@"')
    made = make(elsewhere, target)
    said, *more = made.stderr.splitlines()
    assert made.returncode != 0
    assert said == f"{NEEDED}. Name one: make PYTHON=/path/to/python3"
    assert all(line.startswith("make: ***") for line in more)


def test_a_python_that_was_named_and_is_not_fit_is_named(elsewhere: Path) -> None:
    add_program(elsewhere, "old", "exit 1")
    assert f"{NEEDED} in old. Name one" in make(elsewhere, ".venv/.stack", "PYTHON=old").stderr


def test_the_newest_proven_python_that_works_is_taken(elsewhere: Path) -> None:
    add_program(elsewhere, "python3.13", "exit 127")
    for name in ("python3.12", "python3.11", "python3"):
        add_program(elsewhere, name, f'exec {sys.executable} "$@"')
    assert 'python="python3.12"' in make(elsewhere, "--dry-run", ".venv/.stack").stdout


@pytest.mark.parametrize(
    ("version", "fit"), [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), False)]
)
def test_each_python_from_3_11_to_3_14_is_fit(version: tuple[int, int], fit: bool) -> None:
    found = re.search(r"^IS_FIT = (.*)$", MAKEFILE.read_text(), re.M)
    assert found is not None
    pretended = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0, 'final', 0); {found[1]}"
    ended = subprocess.run([sys.executable, "-c", pretended], env=dict(os.environ), check=False, timeout=60)
    assert (ended.returncode == 0) is fit
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.15"


def test_the_image_has_the_newest_python_that_is_proven() -> None:
    proven = re.search(r"for one in python(3\.\d+) ", MAKEFILE.read_text())
    assert proven is not None
    images = re.findall(r"^FROM python:(\S+)", (CHECKOUT / "Dockerfile").read_text(), re.M)
    assert set(images) == {f"{proven[1]}-slim"}


def test_make_dev_installs_what_it_runs_with_and_no_more() -> None:
    product, stack, everything = (
        pins(CHECKOUT / f"requirements{kind}.txt") for kind in ("", "-stack", "-dev")
    )
    assert product.items() <= stack.items() <= everything.items()
    extra = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {re.split(r"[>=\[]", name)[0] for name in extra["stack"]} <= stack.keys() - product.keys()
    assert not {"pytest", "mypy", "ruff", "schemathesis"} & stack.keys()
    dry = make(CHECKOUT, "--dry-run", "--always-make", "dev").stdout
    assert "requirements-stack.txt" in dry
    assert "requirements-dev.txt" not in dry


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_have_a_hash_for_everything_and_name_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.M)
    for entry in re.split(r"\n(?=\w)", text):
        if "==" in entry:
            assert "--hash=sha256:" in entry
    assert pins(lock)


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", lock.read_text(), re.M))
