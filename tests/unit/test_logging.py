"""Logs are lines of JSON on standard error; a line that cannot be written stops nothing."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from payonce.logging import configure, get_logger


class FullDisk(io.StringIO):
    """Takes nothing."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
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
