"""`python -m api`: one API process, until SIGTERM or SIGINT. Several may share the port."""

import uvloop

from api.main import serve
from payonce.runtime import saying_why
from payonce.settings import settings_from_environment


def main() -> None:
    """An error that we know is one line and exit status 1."""
    with saying_why("payonce api"):
        uvloop.run(serve(settings_from_environment()))


if __name__ == "__main__":
    main()
