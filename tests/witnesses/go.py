"""Go modules as sources: what a vendor publishes there is read from Go's own cache, and built from it."""

import fcntl
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.support.tools import tool

DOWNLOAD_S_MAX = 300
BUILD_S_MAX = 900


def module_directory(module: str, version: str) -> Path:
    """Where the module's files are. The test is skipped, in words, where there is no Go."""
    go = tool("go", of="golang-go, 1.22 or later")
    with tempfile.TemporaryDirectory() as directory:  # outside of any other module
        finished = subprocess.run(
            [go, "mod", "download", "-json", f"{module}@{version}"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_S_MAX,
            check=False,
        )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Path(json.loads(finished.stdout)["Dir"])


def built(module: str, version: str) -> Path:
    """The module's program, built once and kept in the user's cache. Other processes wait while one builds."""
    go = tool("go", of="golang-go, 1.22 or later")
    name = module.rpartition("/")[2]
    directory = cache_directory() / f"{name}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / name
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            subprocess.run(
                [go, "install", f"{module}@{version}"],
                env={**os.environ, "GOBIN": str(directory), "GOFLAGS": ""},
                check=True,
                timeout=BUILD_S_MAX,
            )
    return program


def cache_directory() -> Path:
    """Where the tests keep what they fetched and built."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "payonce-tests"
