"""What draws receipts is an extra of a hundred megabytes: installed by who builds the image, or when it is needed.

The second is for development: from the requirements that are locked with hashes, by this Python's own pip.
"""

import asyncio
import fcntl
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from payonce.domain.errors import PaymentError
from payonce.logging import get_logger

INSTALLED_WITHIN_S: Final = 600.0
_MODULES: Final = (
    *("jinja2", "typst", "pylopdf_fonts_zh_cn"),
    *(
        "fontpkg_noto_sans",
        "fontpkg_noto_sans_devanagari",
        "fontpkg_noto_sans_tamil",
        "fontpkg_noto_sans_arabic",
    ),
)

log = get_logger(__name__)


class ExtraMissing(PaymentError):
    """What draws receipts is not installed."""

    code = "receipts_extra_missing"


def is_installed() -> bool:
    """Whether all that draws receipts is there."""
    importlib.invalidate_caches()
    return all(importlib.util.find_spec(name) is not None for name in _MODULES)


async def ensure(requirements: Path | None) -> None:
    """All that draws receipts is there. Raises `ExtraMissing`, also where there is nothing to install it from."""
    if is_installed():
        return
    if requirements is None:
        raise ExtraMissing("The extra `receipts` is not installed (requirements-receipts.txt).")
    log.info("receipts_extra_installing", requirements=str(requirements))
    await _install(requirements)
    if not is_installed():
        raise ExtraMissing(f"{requirements} was installed, and not all is there.")
    log.info("receipts_extra_installed")


async def _install(requirements: Path) -> None:
    with _alone(requirements):
        pip = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--require-hashes", "-r", str(requirements)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(INSTALLED_WITHIN_S):
                _, said = await pip.communicate()
        except BaseException:
            pip.kill()
            await pip.wait()
            raise
    if pip.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise ExtraMissing(
            f"pip could not install {requirements.name}: {lines[-1] if lines else 'it says nothing'}"
        )


@contextmanager
def _alone(requirements: Path) -> Iterator[None]:
    """One at a time installs. Raises `ExtraMissing` while another does."""
    with requirements.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExtraMissing("Another process installs the extra `receipts`.") from None
        yield
