"""A command ends with its own status and all of its output, and not by what Python does at the end."""

import os
import subprocess
import sys

import pytest

from devstack.parts import CHECKOUT

PROGRAM = """
import atexit, sys
atexit.register(lambda: print("finalized"))
from payonce.cli import app, main
@app.command("ends")
def ends(how: str) -> None:
    print("done" * 50_000)
    if how == "refused":
        raise OSError(2, "refused in words")
    sys.exit(int(how))
main()
"""


def _ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(
        command, check=False, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [("3", 3, ""), ("refused", 1, "payonce: refused in words\n")],
)
def test_its_status_and_words_are_its_own_and_the_interpreter_is_left_alone(
    how: str, status: int, said: str
) -> None:
    """Threads of the receipt store would abort the process while Python ends."""
    ended = _ended("ends", how)
    assert (ended.returncode, ended.stderr) == (status, said)
    assert ended.stdout == "done" * 50_000 + "\n"


def test_nobody_needs_to_read_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, "ends", "0"],
        cwd=CHECKOUT,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert process.returncode == 1  # as click has it for a pipe that broke
    assert process.stderr == b""
