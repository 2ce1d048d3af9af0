"""What an error of Postgres means for us, by its SQLSTATE, and what becomes of the connection.

Source: PostgreSQL 18, Appendix A (error codes), where the classes 00, 01 and 02 are no errors; a server says so of
itself in `share/errcodes.txt`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Meaning(StrEnum):
    """What whoever ran the statement may make of the error."""

    PASSES = "passes"  # nothing of the transaction holds; the same may work later, on this connection too
    # The same; but this connection, and all that rest, lead to the wrong place or nowhere.
    ELSEWHERE = "elsewhere"
    OURS = "ours"  # the statement is wrong, or a constraint stopped it: no retry helps, somebody must mend it


_PASSES, _ELSEWHERE, _OURS = Meaning

# The longest prefix counts. Every class is here on purpose, with the reason.
TABLE: Final[Mapping[str, tuple[Meaning, str]]] = {
    "03": (_OURS, "SQL statement not yet complete: embedded SQL only"),
    "08": (_ELSEWHERE, "connection exception"),
    "09": (_OURS, "triggered action exception"),
    "0A": (_PASSES, "a prepared statement whose result changed (a migration): it is prepared anew"),
    "0B": (_OURS, "invalid transaction initiation: we begin in one place"),
    "0F": (_OURS, "locator exception: we keep no large objects"),
    "0L": (_OURS, "invalid grantor: a role was set up wrongly"),
    "0P": (_OURS, "invalid role specification: the same"),
    "0Z": (_OURS, "diagnostics exception: a function's mistake"),
    "10": (_OURS, "XQuery error"),
    "20": (_OURS, "a CASE of a function has no branch"),
    "21": (_OURS, "cardinality violation: a subquery found several rows"),
    "22": (_OURS, "data exception: a value that the column or the function cannot take"),
    "23": (_OURS, "integrity constraint violation: what the code let through is stopped here"),
    "24": (_OURS, "invalid cursor state: we keep no cursors"),
    "25": (_PASSES, "invalid transaction state: the transaction is over, the next one is another"),
    "25P02": (_OURS, "in a failed transaction: somebody swallowed the error before"),
    "25006": (_ELSEWHERE, "read-only: this server is not the primary any more"),
    "25P03": (_ELSEWHERE, "idle_in_transaction_session_timeout ended the session"),
    "25P04": (_ELSEWHERE, "transaction_timeout ended the session"),
    "26": (_PASSES, "Postgres forgot what was prepared: it is prepared anew"),
    "27": (_OURS, "triggered data change violation: a trigger changed the row under the statement"),
    "28": (_ELSEWHERE, "authorization: a password or a certificate is being changed"),
    "2B": (_OURS, "dependent privileges or objects exist: of a migration"),
    "2D": (_OURS, "invalid transaction termination: a function committed"),
    "2F": (_OURS, "SQL routine exception"),
    "34": (_OURS, "invalid cursor name: we keep no cursors"),
    "38": (_OURS, "external routine exception: a function of an extension"),
    "39": (_OURS, "external routine invocation exception: a trigger's or a function's mistake"),
    "3B": (_OURS, "savepoint exception: we use none"),
    "3D": (_PASSES, "the database does not exist (yet)"),
    "3F": (_OURS, "the schema does not exist: a search_path, a migration"),
    "40": (
        _PASSES,
        "serialization failure, deadlock; 40003: completion unknown, and COMMIT tells that apart",
    ),
    "42": (_OURS, "syntax error, or access rule violation: a table, a column or a privilege is missing"),
    "42P05": (_PASSES, "the name is prepared already, by a pooler's other client: names are not used twice"),
    "44": (_OURS, "WITH CHECK OPTION violation"),
    "53": (_PASSES, "insufficient resources: disk full, out of memory, too many connections"),
    "54": (_OURS, "program limit exceeded: the statement is too large"),
    "55": (_PASSES, "not in the prerequisite state: lock not available, still recovering"),
    "55P02": (_OURS, "a setting that cannot be changed now"),
    "55P04": (_OURS, "a new enum value in the transaction that added it: of a migration"),
    "57": (_PASSES, "operator intervention: a statement cancelled or timed out"),
    "57P01": (_ELSEWHERE, "admin_shutdown"),
    "57P02": (_ELSEWHERE, "crash_shutdown"),
    "57P03": (_ELSEWHERE, "cannot_connect_now: it starts, or recovers"),
    "57P04": (_ELSEWHERE, "database_dropped"),
    "57P05": (_ELSEWHERE, "idle_session_timeout"),
    "58": (_ELSEWHERE, "system error outside of Postgres: input and output"),
    "72": (_PASSES, "snapshot too old: of Postgres before 17"),
    "F0": (_PASSES, "configuration file error: somebody is at it"),
    "HV": (_OURS, "foreign data wrapper error: no table of ours is one"),
    "P0": (_OURS, "PL/pgSQL error: raised by a function or a trigger that somebody added"),
    "XX": (_ELSEWHERE, "internal error, or a damaged page or index: another session may not meet it"),
}
LOCK_NOT_AVAILABLE: Final = "55P03"


def meaning_of(sqlstate: str) -> Meaning:
    """What the state means; one of no class that we know (an extension's, a fork's) is ours to mend."""
    for length in (5, 2):
        if (found := TABLE.get(sqlstate[:length])) is not None:
            return found[0]
    return Meaning.OURS
