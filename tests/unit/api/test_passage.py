"""A request of money says how long each of its stages took."""

from collections.abc import Callable, Iterable

import pytest
from structlog.testing import capture_logs

from api.http.passage import Passage, Passages, RequestStage
from payonce.metrics import STAGE_SECONDS

Step = Callable[[Passage], None]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _passed(clock: Clock, steps: Iterable[tuple[float, Step]]) -> Passage:
    """A passage whose steps each come so many seconds after the one before."""
    passage = Passage(clock)
    for seconds, step in steps:
        clock.now += seconds
        step(passage)
    return passage


def _end(stage: RequestStage) -> Step:
    return lambda passage: passage.end(stage)


ADMITTED = (
    (0.001, _end(RequestStage.READ)),
    (0.002, _end(RequestStage.PLACE)),
    (0.004, _end(RequestStage.RISK)),
    (0.008, _end(RequestStage.ADMIT)),
)
BEFORE = {
    RequestStage.READ: 0.001,
    RequestStage.PLACE: 0.002,
    RequestStage.RISK: 0.004,
    RequestStage.ADMIT: 0.008,
}
CASES: dict[str, tuple[list[tuple[float, Step]], dict[RequestStage, float]]] = {
    "a create": (
        [
            (0.016, Passage.handed_over),
            (0.032, Passage.call_begun),
            (0.064, Passage.call_ended),
            (0.128, Passage.know_outcome),
        ],
        {
            RequestStage.START: 0.016,
            RequestStage.TASK: 0.032,
            RequestStage.CALL: 0.064,
            RequestStage.RECORD: 0.128,
        },
    ),
    "a capture, which Temporal has taken over when it is done": (
        [
            (0.016, Passage.call_begun),
            (0.032, Passage.call_ended),
            (0.064, Passage.handed_over),
            (0.128, Passage.know_outcome),
        ],
        {RequestStage.TASK: 0.016, RequestStage.CALL: 0.032, RequestStage.RECORD: 0.192},
    ),
    "called twice": (
        [
            (0.016, Passage.handed_over),
            (0.032, Passage.call_begun),
            (0.064, Passage.call_ended),
            (0.128, Passage.call_begun),
            (0.256, Passage.call_ended),
            (0.512, Passage.know_outcome),
        ],
        {
            RequestStage.START: 0.016,
            RequestStage.TASK: 0.160,
            RequestStage.CALL: 0.320,
            RequestStage.RECORD: 0.512,
        },
    ),
    "two calls at a time": (
        [
            (0.016, Passage.handed_over),
            (0.032, Passage.call_begun),
            (0.064, Passage.call_begun),
            (0.128, Passage.call_ended),
            (0.256, Passage.call_ended),
            (0.512, Passage.know_outcome),
        ],
        {
            RequestStage.START: 0.016,
            RequestStage.TASK: 0.032,
            RequestStage.CALL: 0.448,
            RequestStage.RECORD: 0.512,
        },
    ),
    "answered while the acquirer has it, which it says later": (
        [
            (0.016, Passage.handed_over),
            (0.032, Passage.call_begun),
            (8.0, Passage.know_outcome),
            (0.0, Passage.call_ended),
        ],
        {RequestStage.START: 0.016, RequestStage.TASK: 0.032, RequestStage.CALL: 8.0},
    ),
    "done by another process": (
        [(0.016, Passage.handed_over), (0.032, Passage.know_outcome)],
        {RequestStage.START: 0.016, RequestStage.TASK: 0.032},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_all_of_its_time_is_some_stage_s(case: str) -> None:
    steps, expected = CASES[case]
    clock = Clock()
    passage = _passed(clock, [*ADMITTED, *steps])
    assert passage.spent_s == pytest.approx(BEFORE | expected)
    assert sum(passage.spent_s.values()) == pytest.approx(clock.now)
    assert passage.own_s == pytest.approx(clock.now - passage.spent_s.get(RequestStage.CALL, 0.0))


def _counted(stage: RequestStage) -> float:
    return STAGE_SECONDS.labels(stage)._sum.get()


def test_one_that_was_carried_out_is_counted_with_its_answer_and_one_that_admitted_nothing_is_not() -> None:
    clock, passages = Clock(), Passages(slow_s=1.0)
    before = {stage: _counted(stage) for stage in RequestStage}
    passages.ended(_passed(clock, ADMITTED))
    assert {stage: _counted(stage) for stage in RequestStage} == before

    carried_out = _passed(clock, [*ADMITTED, *CASES["a create"][0]])
    clock.now += 0.256
    passages.ended(carried_out)
    took = {stage: _counted(stage) - before[stage] for stage in RequestStage}
    assert took == pytest.approx(BEFORE | CASES["a create"][1] | {RequestStage.ANSWER: 0.256})


def test_one_whose_own_time_was_too_long_is_in_the_log_and_no_more_than_one_a_second() -> None:
    now = Clock()
    passages = Passages(slow_s=0.2, clock=now)
    slow_acquirer = [
        *ADMITTED,
        (0.0, Passage.call_begun),
        (5.0, Passage.call_ended),
        (0.1, Passage.know_outcome),
    ]
    slow = [*ADMITTED, (0.0, Passage.call_begun), (0.05, Passage.call_ended), (0.2, Passage.know_outcome)]

    def told(*passed: list[tuple[float, Step]]) -> list[tuple[float, float, int]]:
        with capture_logs() as lines:
            for steps in passed:
                passages.ended(_passed(Clock(), steps))
        assert {line["event"] for line in lines} <= {"payment_was_slow"}
        return [(line["own_ms"], line["record_ms"], line["untold"]) for line in lines]

    assert told(slow_acquirer) == []
    assert told(slow, slow, slow) == [(215.0, 200.0, 0)]
    now.now += 1.0
    assert told(slow) == [(215.0, 200.0, 2)]
