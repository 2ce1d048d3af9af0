"""Becomes a command that is killed when the process that started it dies.

Run as `python tether.py PARENT_PID ACCOUNT COMMAND…`; ACCOUNT `-` keeps the user. A script of its own, not a
`preexec_fn`: Python code between fork and exec may deadlock in a process with threads. Linux only.
Source: prctl(2), PR_SET_PDEATHSIG; changing the user clears it, so the user is changed first.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_IS_GONE = 125
COMMAND_NOT_FOUND = 127


def main() -> None:
    """This process is the command, tied to its parent's life."""
    parent_pid, account, *command = sys.argv[1:]
    if account != "-":
        _become(account)
    tie_to(int(parent_pid))
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is meant
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(COMMAND_NOT_FOUND)


def tie_to(parent_pid: int) -> None:
    """This process is killed when its parent dies; it ends at once where that is gone already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit(PARENT_IS_GONE)


def _become(account: str) -> None:
    entry = pwd.getpwnam(account)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main()
