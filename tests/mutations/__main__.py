"""Runs the tests against each mutation, in a copy of the checkout, and prints which were caught.

    python -m tests.mutations [PART OF A NAME]

Takes a minute or more for each. A mutation whose text is not found is an error: the code has moved.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutations import adyen, razorpay, stripe
from tests.mutations.disputes import DISPUTES
from tests.mutations.mutation import Mutation
from tests.mutations.rules import RULES

MUTATIONS = (*RULES, *DISPUTES, *stripe.PLANTS, *razorpay.PLANTS, *adyen.PLANTS)
CHECKOUT = Path(__file__).resolve().parents[2]
WITHIN_S = 900
TESTS_FAILED = 1  # pytest's exit status
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".payonce", "__pycache__", ".*_cache", "*.egg-info")


def main(names: list[str]) -> int:
    """The exit status: 0 if every chosen mutation was caught."""
    chosen = [mutation for mutation in MUTATIONS if all(name in mutation.name for name in names)]
    caught = [_report(mutation, _caught(mutation)) for mutation in chosen]
    print(f"{sum(caught)} of {len(chosen)} caught")
    return 0 if all(caught) else 1


def _caught(mutation: Mutation) -> str | None:
    """The first test that fails with the mutation; none if all pass."""
    with tempfile.TemporaryDirectory(prefix="payonce-mutation-") as directory:
        copy = Path(directory) / "checkout"
        shutil.copytree(CHECKOUT, copy, ignore=_LEFT_OUT)
        copy.parent.chmod(0o711)  # PostgreSQL's account looks for its programs through it
        mutated = copy / mutation.file
        text = mutated.read_text()
        if text.count(mutation.before) != 1:
            raise SystemExit(f"{mutation.file} does not have the text of «{mutation.name}» once")
        mutated.write_text(text.replace(mutation.before, mutation.after))
        tests = [test for test in mutation.tests if (copy / test).exists()]
        ran = subprocess.run(  # in the copy, which comes first on the path
            [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    if ran.returncode not in (0, TESTS_FAILED):
        raise SystemExit(f"pytest ended with {ran.returncode}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    if ran.returncode == 0:
        return None
    failed = (line for line in ran.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests")))
    return next(failed)


def _report(mutation: Mutation, failed: str | None) -> bool:
    print(f"rule {mutation.rule:3} {'caught    ' if failed else 'NOT CAUGHT'} {mutation.name}")
    if failed:
        print(f"         {failed}")
    sys.stdout.flush()
    return failed is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
