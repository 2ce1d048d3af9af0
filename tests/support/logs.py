"""What the product logs in pytest's own process goes to standard error, as it does in production.

A test that reads what a command printed would otherwise read what another one's background task logged beside it.
"""

import sys

import structlog


def to_standard_error() -> None:
    """Again after each test that configured the product's logging."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    structlog.configure(logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr))
