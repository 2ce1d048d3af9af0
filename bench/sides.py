"""What has its turn, and what the API is held against: the baselines as they were at one commit for good.

So what is gained for all counts as well.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.targets import BARE, BASELINES, NO_ENGINE, PAYONCE

HERE: Final = "."
NAMED: Final = re.compile(
    rf"(?P<revision>[\w.][\w./-]*):(?P<target>{'|'.join((PAYONCE, *BASELINES))})"
    r"(\*(?P<processes>[1-9]\d?))?(@(?P<python>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Side:
    """A target of one revision, with so many API processes, run by one Python."""

    revision: str
    target: str
    api_processes: int = 1
    python: str = sys.executable

    @property
    def name(self) -> str:
        several = f"*{self.api_processes}" if self.api_processes > 1 else ""
        python = f"@{self.python}" if self.python != sys.executable else ""
        return f"{self.revision}:{self.target}{several}{python}"

    @classmethod
    def named(cls, text: str) -> "Side":
        """From REVISION:TARGET[*PROCESSES][@PYTHON]. Raises `ValueError`."""
        found = NAMED.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not REVISION:TARGET[*PROCESSES][@PYTHON]")
        return cls(
            found["revision"],
            found["target"],
            int(found["processes"] or 1),
            found["python"] or sys.executable,
        )


COMMIT: Final = "045838e"
OURS: Final = Side(HERE, PAYONCE)
THEN: Final = (Side(COMMIT, BARE), Side(COMMIT, NO_ENGINE))


@dataclass(frozen=True, slots=True)
class Saturated:
    """Ours as a share of theirs; None where it was not measured."""

    api: float | None = None
    throughput: float | None = None


def saturated(found: Mapping[str, Any] | None) -> Saturated:
    """From a run's turns: each is compared with those just before it, since the machine changes; then the median."""
    if found is None:
        return Saturated()
    rounds = list(zip(*(found[side.name]["turns"] for side in (OURS, *THEN)), strict=True))
    api = median(ours["api"] / (bare["api"] + without["api"]) for ours, bare, without in rounds)
    throughput = median(ours["per second"] / bare["per second"] for ours, bare, _ in rounds)
    return Saturated(api=round(api, 3), throughput=round(throughput, 3))
