"""Programs that a test needs and that are no package of Python's: Debian has them, `.ci/run` installs them."""

import os
import shutil

import pytest


def tool(program: str, *, of: str) -> str:
    """The program's path. The test is skipped where it is missing, and fails where `.ci/run` runs it."""
    found = shutil.which(program)
    if found is None and os.environ.get("TESTS_NEED_TOOLS"):
        pytest.fail(f"{program} (Debian's {of}) is missing, and here nothing is skipped for want of it")
    if found is None:
        pytest.skip(f"{program} (Debian's {of}) is not on this machine")
    return found
