"""How our programs end: with a status, one line for an error that we know, and without Python's finalization."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Never

from payonce.domain.errors import PaymentError


def run_program(name: str, body: Callable[[], object]) -> Never:
    """The body has run, and the process ends as it says: `SystemExit`'s status, 1 and one line for an error that we
    know, else 0. Any other error passes, and ends it as Python does.

    obstore's threads may still be about to let go of what they were given. Python ends a thread that asks for the
    interpreter during finalization, and Rust aborts the process for it: a command had done its work and ended by
    SIGABRT, 17 of 200 times on a busy machine. Source: PyO3, pull request 4874.
    """
    status: str | int | None = 0
    try:
        with _saying_why(name):
            body()
    except SystemExit as ended:
        status = ended.code
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(status or 0)


@contextmanager
def _saying_why(program: str) -> Iterator[None]:
    try:
        yield
    except PaymentError as error:
        sys.exit(f"{program}: {error.message}")
    except OSError as error:
        sys.exit(f"{program}: {error.strerror or error}")
