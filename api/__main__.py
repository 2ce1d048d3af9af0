"""`python -m api`: one API process, until SIGTERM or SIGINT. Several may share the port."""

from typing import Never

import uvloop

from api.main import serve
from payonce.memory import keep_private
from payonce.programs import run_program
from payonce.settings import settings_from_environment


def main() -> Never:
    """An error that we know is one line and exit status 1."""
    run_program("payonce api", _run)


def _run() -> None:
    settings = settings_from_environment()
    keep_private(allow_debuggers=settings.allow_debuggers)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
