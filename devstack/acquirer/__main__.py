"""`python -m devstack.acquirer`: serves the sandbox acquirer until SIGTERM or SIGINT."""

import argparse
import os
from pathlib import Path

from devstack.acquirer.app import Settings
from devstack.acquirer.server import serve_until_stopped


def main() -> None:
    """The acquirer has listened, printed its address, and ended."""
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.key:
        parser.error("there is no key: set ACQUIRER_KEY to what the senders have")
    settings = Settings(
        data=Path(arguments.data),
        key=arguments.key,
        public_url=arguments.public_url,
        authorization_validity_s=arguments.authorization_validity_s,
        hold_s=arguments.hold_s,
    )
    serve_until_stopped(settings, host=arguments.host, port=arguments.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devstack.acquirer", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("ACQUIRER_PORT", "0")))
    parser.add_argument("--data", default=os.environ.get("ACQUIRER_DATA", "acquirer.sqlite"))
    parser.add_argument("--key", default=os.environ.get("ACQUIRER_KEY"))
    parser.add_argument("--public-url", default=os.environ.get("ACQUIRER_PUBLIC_URL"))
    parser.add_argument("--authorization-validity-s", type=_seconds, default=604_800)
    parser.add_argument("--hold-s", type=_seconds, default=60, help="how long a timeout fault holds")
    return parser


def _seconds(text: str) -> int:
    seconds = int(text)
    if not 1 <= seconds <= 31_536_000:
        raise argparse.ArgumentTypeError("must be 1 to 31536000 seconds")
    return seconds


if __name__ == "__main__":
    main()
