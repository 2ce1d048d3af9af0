"""Statements that forget whose rows they are about: so it shows whether Postgres remembers."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from payonce.storage.driver.wire import Command, Wire

_CONDITION = re.compile(r"\w+\.(?:merchant_id|mode) = (\$\d+|%\(\w+\)s)(?:::VARCHAR)?")


@contextmanager
def forgetting() -> Iterator[Counter[str]]:
    """No statement names a merchant or a mode in its conditions any more. How many `conditions` were taken out."""
    out: Counter[str] = Counter()

    def forget(statement: str) -> str:
        less, number = _CONDITION.subn(r"CAST(\1 AS text) IS NOT NULL", statement)
        out["conditions"] += number
        return less

    command = Wire.command

    def forgetful(self: Wire, text: bytes, values: Sequence[Any], formats: Any) -> Command:
        return command(self, forget(text.decode()).encode(), values, formats)

    def rewritten(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        return forget(statement), parameters

    event.listen(Engine, "before_cursor_execute", rewritten, retval=True)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Wire, "command", forgetful)
            yield out
    finally:
        event.remove(Engine, "before_cursor_execute", rewritten)
