"""The memory of a process that holds card numbers and keys is written to no file, and shown to no debugger."""

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # Source: prctl(2), include/uapi/linux/prctl.h


def keep_private(*, allow_debuggers: bool = False) -> None:
    """No core dump is written, and on Linux no process of the same user reads the memory; root does.

    A limit of 0 alone does not stop a dump that goes to a program (core(5), "Piping core dumps to a program"). From
    then on root owns most of the process's `/proc` entries, which whoever starts us as another user may want to read:
    therefore `allow_debuggers`. Raises `OSError`.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux" or allow_debuggers:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"PR_SET_DUMPABLE: {os.strerror(error)}")
