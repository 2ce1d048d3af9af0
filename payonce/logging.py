"""Structured logs: an event name and fields; never a card number, a security code, a secret or a raw body."""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import structlog

from payonce.domain.card_numbers import looks_like_card_number

_REDACTED = "[redacted]"
TEXT_MAX = 8 * 1024  # characters of one event
DEPTH_MAX, ITEMS_MAX = 4, 100  # of nested values, and in each of them
_BEYOND = 64  # a card number that begins within the limit ends within this, its separators included
_NUMBER_MIN, _NUMBER_MAX = 10**11, 10**19  # of 12 to 19 digits
_OF_STRUCTLOG = frozenset({"_record", "_from_structlog"})
_SHOWN_FIRST = frozenset({"event", "level", "timestamp", "process", "request_id"})
_SECRET_FIELDS = frozenset({"card", "number", "cvc", "secret", "key", "authorization", "body", "token"})


def configure(*, level: str, process: str) -> None:
    """Everything this process logs is one JSON object a line on standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    render = structlog.processors.JSONRenderer(default=repr)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_names: _StandardError(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(  # of the libraries that use `logging`
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


class _StandardError:
    """Takes rendered lines. One that cannot be written is lost: a full disk or a closed pipe stops no payment."""

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError, AttributeError):  # broken; closed; there is none
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def get_logger(name: str) -> Any:
    return structlog.stdlib.get_logger(name)


def redact(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """The event without the values of secret fields, and without anything that looks like a card number.

    All its texts together are cut at `TEXT_MAX`, since each is searched, however long the value was.
    """
    scrubber = _Scrubber()
    shown = {
        name: event[name] if name in _OF_STRUCTLOG else scrubber.member(name, event[name], depth=0)
        for name in sorted(event, key=lambda name: name not in _SHOWN_FIRST)
    }
    return {name: shown[name] for name in event}


class _Scrubber:
    """Of one event: how much of its texts may still be shown."""

    def __init__(self) -> None:
        self._left = TEXT_MAX

    def member(self, name: object, value: object, *, depth: int) -> object:
        return _REDACTED if name in _SECRET_FIELDS else self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        match value:
            case None | bool() | float():
                return value
            case int():
                shows = _NUMBER_MIN <= abs(value) < _NUMBER_MAX and looks_like_card_number(str(value))
                return _REDACTED if shows else value
            case str():
                return self._text(value)
            case Mapping() if depth < DEPTH_MAX:
                return {
                    self._text(str(name)): self.member(name, each, depth=depth + 1)
                    for name, each in islice(value.items(), ITEMS_MAX)
                }
            case list() | tuple() | set() | frozenset() if depth < DEPTH_MAX:
                return [self._value(each, depth + 1) for each in islice(value, ITEMS_MAX)]
            case bytes():
                return self._text(repr(value[: TEXT_MAX + 1]))
            case _:
                return self._text(repr(value))

    def _text(self, text: str) -> str:
        """What is left room for, once what is cut off with it is known to begin no card number."""
        shown, searched = text[: self._left], text[: self._left + _BEYOND]
        self._left -= len(shown)  # what is searched counts, also where nothing of it is shown
        if looks_like_card_number(searched):
            return _REDACTED
        return f"{shown}…" if len(text) > len(shown) else shown
