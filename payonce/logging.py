"""Structured logs: an event name and fields; never a card number, a security code, a secret or a raw body."""

import logging
import sys
from contextlib import suppress
from typing import Any

import structlog

from payonce.domain.card_numbers import looks_like_card_number

_REDACTED = "[redacted]"
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
    """The event without the values of secret fields, and without anything that looks like a card number."""
    return {name: _clean(name, value) for name, value in event.items()}


def _clean(name: str, value: object) -> object:
    if name in _SECRET_FIELDS:
        return _REDACTED
    if isinstance(value, str) and looks_like_card_number(value):
        return _REDACTED
    return value
