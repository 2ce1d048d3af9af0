"""What Temporal's histories call the code that ran a workflow's task."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

OUR_CODE: Final = ("activities", "api", "payonce", "workers", "workflows")


@cache
def build_id() -> str:
    """The same for the same code of ours, in every process that has it.

    Temporal's own takes the code of every module that is imported, which costs each start a second, and is another
    one in each kind of process.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for folder in OUR_CODE for path in (root / folder).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]
