"""Parts of the development stack for tests: on free ports, in a directory that is gone afterwards."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from devstack.stack import INFRASTRUCTURE, PRODUCT, DevStack, StackOptions

ACQUIRER_KEY = "a key of the tests' own"  # of every stack, since some speak to another one's acquirer


@contextmanager
def server_directory() -> Iterator[Path]:
    """A directory that an unprivileged account can walk into, as PostgreSQL must when we are root."""
    directory = Path(tempfile.mkdtemp(prefix="payonce-test-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@asynccontextmanager
async def running(
    *parts: str,
    api_processes: int = 1,
    temporal_ui: bool = False,
    restart: bool = False,
    environ: Mapping[str, str] | None = None,
    product_environ: Mapping[str, str] | None = None,
    temporal_settings: Mapping[str, object] | None = None,
) -> AsyncIterator[DevStack]:
    """The parts named (all, when none is) run and answer; afterwards nothing of them is left.

    The caller's PAYONCE_* variables do not reach them; `environ` does: with PAYONCE_DATABASE_URL,
    PAYONCE_REDIS_URL, PAYONCE_TEMPORAL_ADDRESS or PAYONCE_SANDBOX_ACQUIRER_URL in it, a part that was not
    started is found there.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PAYONCE_")}
    with server_directory() as directory:
        options = StackOptions(
            directory=directory,
            parts=parts or (*INFRASTRUCTURE, *PRODUCT),
            environ={**inherited, "PAYONCE_SANDBOX_ACQUIRER_KEY": ACQUIRER_KEY, **(environ or {})},
            product_environ=product_environ or {},
            temporal_settings=temporal_settings or {},
            any_ports=True,
            api_processes=api_processes,
            temporal_ui=temporal_ui,
            durable=False,
            restart=restart,
        )
        async with DevStack(options) as stack:
            yield stack
