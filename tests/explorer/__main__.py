"""`python -m tests.explorer [--big] [NAME…]`: explores, and prints what was found. 1 where anything was."""

import sys
import time

from tests.explorer.settings import BIG, CLEAN

LIMIT = 5_000_000  # worlds; about 1 kB each


def main(arguments: list[str]) -> int:
    settings = {**CLEAN, **(BIG if "--big" in arguments else {})}
    words = [argument for argument in arguments if argument != "--big"]
    found = 0
    for name, setting in settings.items():
        if words and not any(word in name for word in words):
            continue
        began = time.process_time()
        explored = setting.explore(limit=LIMIT)
        print(f"{name} ({time.process_time() - began:.1f} s): {explored}", flush=True)
        found += bool(explored.broken) or not explored.complete
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
