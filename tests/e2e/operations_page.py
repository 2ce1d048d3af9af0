"""What `docs/operations.md` tells operators to type: its queries, its SQL and its commands."""

import re

from devstack.parts import CHECKOUT

_PAGE = (CHECKOUT / "docs" / "operations.md").read_text()
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", _PAGE, re.DOTALL | re.MULTILINE)
_PROSE = re.sub(r"^```.*?^```", "", _PAGE, flags=re.DOTALL | re.MULTILINE)
_SPANS = re.findall(r"`([^`\n]+)`", _PROSE)
_ATTRIBUTE = re.compile(r"^[A-Z][a-z]+[A-Z]\w*( NOT)? (=|>|<|>=|IN|IS) ?|^Connector = |^Currency = ")
_STATEMENT = re.compile(r"^(SELECT|GRANT|UPDATE|ALTER|INSERT|DELETE|WITH|SET) ")
_MIGRATING = (
    "SET lock_timeout"  # for what is there before the migrations: tests/storage/test_migrations.py runs it
)


def questions() -> dict[str, str]:
    """The query of each question of the table, in the order of the page."""
    table = _PAGE.split("| Question | Query |\n|---|---|\n")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| `([^`]+)`.* \|$", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines()), "a row of the table is not a question and its query"
    return dict(rows)


def other_queries() -> list[str]:
    """The queries of Temporal's visibility that stand elsewhere on the page."""
    quoted = re.findall(r'--query "([^"…]+…?[^"]*)"', _PROSE)
    spans = [span for span in _SPANS if _ATTRIBUTE.match(span)]
    return sorted({*spans, *quoted} - set(questions().values()))


def statements() -> list[str]:
    """Everything for Postgres that may be run on the schema of this version."""
    blocks = [text for language, text in _BLOCKS if language == "sql" and not text.startswith(_MIGRATING)]
    return [*blocks, *(span for span in _SPANS if _STATEMENT.match(span))]


def commands() -> list[str]:
    """Each command line of the blocks of shell, without its comment; one that goes on is one."""
    text = "\n".join(text for language, text in _BLOCKS if language == "sh").replace("\\\n", " ")
    lines = (re.sub(r"\s+#.*$", "", line) for line in text.splitlines())
    return [line for line in lines if line]
