"""How our programs end: each in an interpreter of its own, since that is what ends."""

import subprocess
import sys

import pytest

BEGINNING = (
    "import atexit, sys\n"
    "from payonce.domain.errors import NotSent\n"
    "from payonce.programs import run_program\n"
    "atexit.register(print, 'finalized')\n"
)


@pytest.mark.parametrize(
    ("body", "status", "out", "error"),
    [
        ("print('did')", 0, "did\n", ""),
        ("sys.exit()", 0, "", ""),
        ("sys.exit(3)", 3, "", ""),
        ("sys.exit('it cannot')", 1, "", "it cannot\n"),
        ("raise NotSent('nobody listens')", 1, "", "payonce: nobody listens\n"),
        ("open('/nowhere/at/all')", 1, "", "payonce: No such file or directory\n"),
    ],
)
def test_a_program_ends_with_its_status_and_without_finalization(
    body: str, status: int, out: str, error: str
) -> None:
    ended = _ran(body)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, out, error)


def test_an_error_that_nobody_knows_ends_it_as_python_does() -> None:
    ended = _ran("1 / 0")
    assert (ended.returncode, ended.stdout) == (1, "finalized\n")
    assert "ZeroDivisionError" in ended.stderr


def _ran(body: str) -> subprocess.CompletedProcess[str]:
    program = f"{BEGINNING}def body():\n    {body}\nrun_program('payonce', body)\n"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
