"""npm packages as sources: what a vendor publishes there is taken at test time, and read; nothing of it is run."""

import fcntl
import subprocess
import tarfile
from pathlib import Path

from tests.support.tools import tool
from tests.witnesses.go import cache_directory

DOWNLOAD_S_MAX = 300


def package_directory(package: str, version: str) -> Path:
    """Where its files are, kept in the user's cache. The test is skipped, in words, where there is no npm."""
    npm = tool("npm", of="npm")
    directory = cache_directory() / f"{package.replace('/', '-').lstrip('@')}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    files = directory / "package"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not files.exists():
            _download(npm, f"{package}@{version}", directory)
    return files


def _download(npm: str, what: str, directory: Path) -> None:
    finished = subprocess.run(
        [npm, "pack", what, "--silent"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_S_MAX,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    archive = directory / finished.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")
