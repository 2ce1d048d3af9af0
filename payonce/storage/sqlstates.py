"""What an error of Postgres means for us, by its SQLSTATE, and what becomes of the connection.

Source: PostgreSQL 18, Appendix A (error codes).
"""

from enum import StrEnum
from typing import Final


class Meaning(StrEnum):
    """What whoever ran the statement may make of the error."""

    PASSES = "passes"  # nothing of the transaction holds; the same may work later, on this connection too
    ELSEWHERE = (
        "elsewhere"  # the same; but this connection, and all that rest, lead to the wrong place or nowhere
    )
    OURS = "ours"  # the statement is wrong, or a constraint stopped it: no retry helps, somebody must mend it


# The longest prefix counts.
_TABLE: Final = {
    "08": Meaning.ELSEWHERE,  # connection exception
    "0A": Meaning.PASSES,  # a prepared statement whose result changed (a migration): it is prepared anew
    "25": Meaning.PASSES,  # invalid transaction state: the transaction is over, the next one is another
    "25P02": Meaning.OURS,  # in a failed transaction: somebody swallowed the error before
    "25006": Meaning.ELSEWHERE,  # read-only: this server is not the primary any more
    "25P03": Meaning.ELSEWHERE,  # idle_in_transaction_session_timeout ended the session
    "25P04": Meaning.ELSEWHERE,  # transaction_timeout ended the session
    "26": Meaning.PASSES,  # Postgres forgot what was prepared: it is prepared anew
    "28": Meaning.ELSEWHERE,  # authorization: a password or a certificate is being changed
    "3D": Meaning.PASSES,  # the database does not exist (yet)
    "40": Meaning.PASSES,  # serialization failure, deadlock; 40003: completion unknown, and COMMIT tells that apart
    "53": Meaning.PASSES,  # insufficient resources: disk full, out of memory, too many connections
    "54": Meaning.OURS,  # program limit exceeded: the statement is too large
    "55": Meaning.PASSES,  # not in the prerequisite state: lock not available, still recovering
    "57": Meaning.PASSES,  # operator intervention: a statement cancelled or timed out
    "57P01": Meaning.ELSEWHERE,  # admin_shutdown
    "57P02": Meaning.ELSEWHERE,  # crash_shutdown
    "57P03": Meaning.ELSEWHERE,  # cannot_connect_now: it starts, or recovers
    "57P04": Meaning.ELSEWHERE,  # database_dropped
    "57P05": Meaning.ELSEWHERE,  # idle_session_timeout
    "58": Meaning.ELSEWHERE,  # system error outside of Postgres: input and output
    "72": Meaning.PASSES,  # snapshot too old
    "F0": Meaning.PASSES,  # configuration file error
    "XX": Meaning.ELSEWHERE,  # internal error, or a damaged page or index: another session may not meet it
}
LOCK_NOT_AVAILABLE: Final = "55P03"


def meaning_of(sqlstate: str) -> Meaning:
    """What the state means; one that the table does not name is ours to mend."""
    for length in (5, 2):
        if (found := _TABLE.get(sqlstate[:length])) is not None:
            return found
    return Meaning.OURS
