"""Packages of npm as sources: what a vendor publishes there is read, and nothing of it is run."""

import fcntl
import os
import subprocess
import tarfile
from pathlib import Path

from tests.support.tools import tool

DOWNLOAD_S_MAX = 300
FILES_MAX = 20_000


def package_directory(package: str, version: str) -> Path:
    """Where its files are, kept in the user's cache. The test is skipped, in words, where there is no npm."""
    npm = tool("npm", of="npm")
    directory = _cache() / f"{package.replace('/', '_').lstrip('@')}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    unpacked = directory / "package"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            subprocess.run(
                [npm, "pack", f"{package}@{version}", "--silent", "--ignore-scripts"],
                cwd=directory,
                check=True,
                capture_output=True,
                timeout=DOWNLOAD_S_MAX,
            )
            _unpack(next(directory.glob("*.tgz")), unpacked)
    return unpacked


def _unpack(archive: Path, into: Path) -> None:
    """All of it or nothing."""
    partly = into.with_name("partly")
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
        assert len(members) <= FILES_MAX
        packed.extractall(partly, members, filter="data")
    (partly / "package").rename(into)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "payonce-tests"
