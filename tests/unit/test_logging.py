"""Logs are lines of JSON on standard error; a line that cannot be written stops nothing."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from payonce.domain.card_numbers import looks_like_card_number
from payonce.logging import ITEMS_MAX, TEXT_MAX, configure, get_logger, redact
from tests.support import logs


class FullDisk(io.StringIO):
    """Takes nothing."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    logs.to_standard_error()
    root.handlers[:], root.level = before


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [FullDisk(), closed(), None])
@pytest.mark.parametrize("method", ["debug", "info", "warning", "error", "critical", "exception"])
def test_what_cannot_be_written_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None, method: str
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure(level="debug", process="test")
    getattr(get_logger("one"), method)("happened")


def test_a_logger_that_was_used_before_follows_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log, first, second = get_logger("one"), io.StringIO(), io.StringIO()
    for stream in (first, second):
        monkeypatch.setattr(sys, "stderr", stream)
        configure(level="info", process="test")
        log.info("happened", number="4242424242424242", payment_id="pay_1")
        log.debug("not shown")
    for stream in (first, second):
        line = json.loads(stream.getvalue())
        assert (line["event"], line["level"], line["number"]) == ("happened", "info", "[redacted]")
        assert (line["payment_id"], line["process"]) == ("pay_1", "test")


def test_a_library_s_lines_have_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(level="info", process="test")
    logging.getLogger("library").warning("of %s", "4242424242424242", extra={"secret": "s3cret"})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["secret"]) == ("[redacted]", "warning", "[redacted]")


class Quoting:
    """Its repr holds a card number, as a library's object may."""

    def __repr__(self) -> str:
        return "<sent 4242 4242 4242 4242>"


@pytest.mark.parametrize(
    "value",
    [
        4242424242424242,
        b"4242424242424242",
        ["4242/4242/4242/4242"],
        {"nested": {"deeper": ("paid with 4242_4242_4242_4242",)}},
        {"4242424242424242": 1},
        Quoting(),
        ["x" * 8_150, "y" * 37 + "4242 4242 4242 4242"],  # across the limit
    ],
    ids=["int", "bytes", "list", "nested", "name", "repr", "cut"],
)
def test_no_value_of_an_event_shows_a_card_number(value: object) -> None:
    shown = json.dumps(redact(None, "info", {"event": "happened", "value": value}))
    assert not looks_like_card_number(shown)
    assert "[redacted]" in shown


def test_what_is_logged_is_cut_and_otherwise_as_it_was() -> None:
    event = {
        "event": "happened",
        "count": 7,
        "share": 0.5,
        "known": True,
        "none": None,
        "of": {"a": [1, "b"]},
    }
    assert redact(None, "info", event) == event
    long = redact(None, "info", {"a": "x" * 100_000, "b": "y" * 100_000, "c": list(range(1_000))})
    assert (len(str(long["a"])), long["b"], len(long["c"])) == (TEXT_MAX + 1, "…", ITEMS_MAX)


def test_what_tests_log_is_not_among_what_a_command_prints(capfd: pytest.CaptureFixture[str]) -> None:
    get_logger("one").warning("happened")
    printed = capfd.readouterr()
    assert (printed.out, "happened" in printed.err) == ("", True)
