"""Child processes end for certain, and with the process that started them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.processes import Command, Process, descendants, parent_in, run
from tests.support.eventually import eventually

DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
)
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
BUSY_PARENT = """
import os, signal
def child(lasts):
    pid = os.fork()
    if not pid:
        if lasts:
            signal.pause()
        os._exit(0)
    return pid
before = [child(False) for _ in range(20)]
print(*[child(True) for _ in range(20)], flush=True)
while True:
    for pid in before:
        os.waitpid(pid, 0)
    before = [child(False) for _ in range(20)]
"""
LOOKS = 100
STARTER = """
import asyncio, os, pathlib, signal, sys
from devstack.processes import Command, Process
async def start():
    pause = (sys.executable, "-c", "import signal; signal.pause()")
    command = Command(pause, dict(os.environ), pathlib.Path("/"))
    print((await Process.start(command, pathlib.Path(sys.argv[1]))).pid, flush=True)
    signal.pause()
asyncio.run(start())
"""


def python(code: str, *arguments: str) -> Command:
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return Command((sys.executable, "-c", code, *arguments), environ, Path.cwd())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_process_that_does_not_listen_is_killed_after_the_limit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = await Process.start(python(DEAF), log)
    await eventually(lambda: has_written(log, "deaf"))
    await process.end(signal.SIGTERM, within_s=0.1)
    assert process.returncode == -signal.SIGKILL


async def test_a_stopped_process_hears_that_it_shall_end(tmp_path: Path) -> None:
    process = await Process.start(python("import signal; signal.pause()"), tmp_path / "log")
    process.send_to_tree(signal.SIGSTOP)
    await process.end(signal.SIGTERM, within_s=30)
    assert process.returncode == -signal.SIGTERM


async def test_killing_a_process_kills_those_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, signal; os.setsid(); print(os.getpid(), flush=True); signal.pause()"
    process = await Process.start(python(PARENT, code), log)
    child = await eventually(lambda: number_in(log))
    await process.kill()
    await eventually(lambda: has_ended(child))


async def test_a_process_is_seen_while_others_beside_it_come_and_go(tmp_path: Path) -> None:
    """`children` of /proc leaves some out then."""
    log = tmp_path / "log"
    process = await Process.start(python(BUSY_PARENT), log)
    try:
        lasting = set(await eventually(lambda: numbers_in(log)))
        for _ in range(LOOKS):
            assert lasting <= set(descendants(os.getpid()))
    finally:
        await process.kill()


def test_a_parent_is_read_behind_any_name() -> None:
    assert parent_in("7 (a) S 9 (b)) R 42 7 7 0 -1") == 42
    own = Path("/proc/self/stat").read_text()
    assert parent_in(own) == os.getppid()


async def test_a_process_dies_when_the_one_that_started_it_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    starter = await Process.start(python(STARTER, str(tmp_path / "child.log")), log)
    child = await eventually(lambda: number_in(log))
    assert is_running(child)
    os.kill(starter.pid, signal.SIGKILL)
    await starter.wait()
    await eventually(lambda: has_ended(child))


async def test_a_failed_command_is_one_line_with_its_last_words(tmp_path: Path) -> None:
    command = python("import sys; print('first'); sys.exit('the reason')")
    with pytest.raises(StackError, match=r"^greeting failed with status 1: the reason \(see .*\)$"):
        await run("greeting", command, tmp_path / "log", within_s=30)


async def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="took longer than"):
        await run("wait", python("import signal; signal.pause()"), tmp_path / "log", within_s=0.1)


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    command = Command(("/nowhere/program",), {}, Path("/"))
    with pytest.raises(StackError, match="/nowhere/program: No such file"):
        await run("program", command, tmp_path / "log", within_s=30)


async def has_written(log: Path, text: str) -> bool:
    return text in log.read_text()


async def number_in(log: Path) -> int:
    text = log.read_text()
    return int(text) if text.endswith("\n") else 0


async def numbers_in(log: Path) -> list[int]:
    text = log.read_text()
    return [int(each) for each in text.split()] if text.endswith("\n") else []


async def has_ended(pid: int) -> bool:
    return not is_running(pid)
