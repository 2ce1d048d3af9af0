"""`python -m api`: one API process, until SIGTERM or SIGINT. Several may share the port."""

import sys

import uvloop
from pydantic import ValidationError

from api.main import serve
from payonce.domain.errors import PaymentError
from payonce.settings import settings_from_environment


def main() -> None:
    """An error that we know is one line and exit status 1."""
    try:
        uvloop.run(serve(settings_from_environment()))
    except ValidationError as error:
        names = ", ".join("PAYONCE_" + str(part["loc"][0]).upper() for part in error.errors() if part["loc"])
        sys.exit(f"payonce api: set or correct {names}")
    except PaymentError as error:
        sys.exit(f"payonce api: {error.message}")
    except OSError as error:
        sys.exit(f"payonce api: {error.strerror or error}")


if __name__ == "__main__":
    main()
