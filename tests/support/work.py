"""How much work something is: counted, or compared with itself, so that a slow or busy machine changes nothing."""

import gc
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Any

Work = Callable[[], object]

TIMES = 8  # as large, each size as the one before
SIZES = 4
# Where eight times as much takes 8 times as long if the work grows with the input, and 64 times if with its square.
GROWTH_MAX = 20
ROUNDS = range(3, 20)  # of both sizes in turns; the least of each counts
WORTH_S = 0.001  # below it a clock says nothing, and nobody is kept waiting


def steps(work: Work) -> int:
    """The bytecodes that the work runs in Python, which are the same everywhere. What C does is not among them."""
    counted = 0

    def each(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal counted
        counted += event == "opcode"
        return each

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted


def growth(of_size: Callable[[int], Work], size: int, *, least: int = 1) -> float:
    """The most by which the CPU grows, C and all, while the size grows from the least to this one, `TIMES` each time.

    From the smallest up, so that what is too steep ends before it takes long.
    """
    steepest = 0.0
    sizes = [size // TIMES**smaller for smaller in reversed(range(SIZES))]
    for small, large in pairwise(each for each in sizes if each >= least):
        steepest = max(steepest, _grown(of_size(small), of_size(large)))
        if steepest > GROWTH_MAX:
            break
    return steepest


def _grown(small: Work, large: Work) -> float:
    took_small, took_large = [], []
    for number in range(ROUNDS.stop):
        took_small.append(_cpu_s(small))
        took_large.append(_cpu_s(large))
        grown = min(took_large) / min(took_small)
        if min(took_large) < WORTH_S:
            return 0.0
        if number >= ROUNDS.start and grown <= GROWTH_MAX:
            break
    return grown


def _cpu_s(work: Work) -> float:
    """CPU of this process, without the garbage of others."""
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()
