"""`.payonce` in a checkout: one stack at a time uses it, and it can be cleared while none does."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.errors import StackError
from devstack.parts import CHECKOUT
from devstack.postgres import refuge_of

STATE_DIRECTORY = CHECKOUT / ".payonce"
LOCK = "lock"


@contextmanager
def alone(directory: Path = STATE_DIRECTORY) -> Iterator[Path]:
    """The directory exists and is used by this process only. Raises StackError when another has it."""
    directory.mkdir(mode=0o755, exist_ok=True)
    with (directory / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise StackError(f"the stack of this checkout runs already (process {holder})") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield directory


def reset(directory: Path = STATE_DIRECTORY) -> None:
    """Nothing of the stack's state is left. Raises StackError while the stack runs."""
    with alone(directory):
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        shutil.rmtree(refuge_of(directory), ignore_errors=True)
