"""A process that holds card numbers writes no core dump, and its memory is not its user's to read."""

import subprocess
import sys
from pathlib import Path

import pytest

from payonce.memory import keep_private

PROBE = """
import ctypes, resource, sys
from payonce.memory import keep_private
keep_private(allow_debuggers=bool(int(sys.argv[1])))
libc = ctypes.CDLL(None)
print(resource.getrlimit(resource.RLIMIT_CORE), libc.prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
print(len(open("/proc/self/stat").read()) > 0, len(__import__("os").listdir("/proc/self/fd")) > 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize(("allowed", "dumpable"), [(0, 0), (1, 1)])
def test_a_process_keeps_its_memory_private(allowed: int, dumpable: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, str(allowed)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split("\n")[:2] == [f"(0, 0) {dumpable}", "True True"]


def test_the_processes_that_hold_cards_begin_with_it() -> None:
    """Before anything is opened: nothing of what is read later was ever in a memory that others could read."""
    root = Path(__file__).parents[2]
    for path, after in (("api/__main__.py", "uvloop.run(serve("), ("workers/__main__.py", "open_process(")):
        text = (root / path).read_text()
        assert 0 < text.index("keep_private(allow_debuggers=") < text.index(after)


def test_a_system_that_refuses_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        @staticmethod
        def prctl(*_: int) -> int:
            return -1

    monkeypatch.setattr("payonce.memory.resource.setrlimit", lambda *_: None)
    monkeypatch.setattr("payonce.memory.sys.platform", "linux")
    monkeypatch.setattr("payonce.memory.ctypes.CDLL", lambda *_, **__: Refuses())
    with pytest.raises(OSError, match="PR_SET_DUMPABLE"):
        keep_private()
