"""The process that draws receipts: `python -m payonce.receipts.child`, one receipt at a time, until its input ends.

It is given nothing but what it draws: no settings, no connections, no keys. What it may use is bounded before the
first byte of somebody else's is read.

A request is the length of a JSON object in four bytes and the object: `form`, `receipt`, and `logo` in base64. An
answer is one byte, `+` or `-`, the length of what follows in four bytes, and the receipt or the reason.
"""

import base64
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO, Final

MEMORY_MAX: Final = 256 * 1024 * 1024
CPU_S_MAX: Final = 600  # in its life: one that nobody ends any more ends by itself
FILES_MAX: Final = 64
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
LENGTH: Final = struct.Struct(">I")
_NICER: Final = 10  # whoever pays comes first
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Answers every request."""
    bound()
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing that prints comes between
    while (request := _read(sys.stdin.buffer)) is not None:
        sign, content = _answer(request)
        answers.write(sign + LENGTH.pack(len(content)) + content)
        answers.flush()


def bound() -> None:
    """This process ends with the one that started it, has so much memory, and can write no file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(_NICER)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(request: bytes) -> tuple[bytes, bytes]:
    try:
        from payonce.receipts.drawing import FORMS

        asked = json.loads(request)
        logo = base64.b64decode(asked["logo"]) if asked["logo"] else None
        return b"+", FORMS[asked["form"]](asked["receipt"], logo)
    except Exception as error:  # whatever it is: the next receipt may be drawn
        return b"-", f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:2_000]


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > REQUEST_BYTES_MAX:
        sys.exit("the request is too long")
    return source.read(length)


if __name__ == "__main__":
    main()
