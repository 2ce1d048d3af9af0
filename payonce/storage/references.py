"""What derives from an attempt's key, and is in no column of a packed row: its reference, and a create's payment.

Our reference is the operation's id and the attempt's number (`attempt_reference`): one is found by the attempts' key,
and by no index of its own.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    SmallInteger,
    Text,
    and_,
    cast,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from payonce.storage.merging import texts
from payonce.storage.tables import attempts

REFERENCE: Final = (attempts.c.operation_id + "-" + cast(attempts.c.number, Text)).label("reference")
PAYMENT_ID: Final = func.coalesce(attempts.c.payment_id, attempts.c.operation_id).label("payment_id")


def attempt_has(reference: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether that is the attempt's reference: as `attempt_named`, in words of SQL that no text makes fail."""
    return and_(
        attempts.c.operation_id == func.substring(reference, "^(.+)-[1-9][0-9]{0,4}$"),
        attempts.c.number == cast(func.substring(reference, "-([1-9][0-9]{0,4})$"), Integer),
    )


def among(query: Select[Any], named: Iterable[tuple[str, int]]) -> Select[Any]:
    """The query about those of the attempts that have one of these operations and numbers.

    `OFFSET 0`: each is looked up by the key. Postgres read all of some thousand attempts for a hundred.
    """
    keys = sorted(set(named))
    numbers = literal([number for _, number in keys], ARRAY(SmallInteger))
    columns = column("operation_id", Text), column("number", SmallInteger)
    listed = func.unnest(texts([id_ for id_, _ in keys]), numbers).table_valued(*columns, name="given")
    given = listed.render_derived()
    same = (attempts.c[each.name] == given.c[each.name] for each in columns)
    found = query.where(*same).offset(0).lateral("found")
    return select(found).select_from(given.join(found, true()))
