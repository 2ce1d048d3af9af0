"""The first rows in an order that an index has only behind another column: of each of its values, and then of those.

So one index by (column, order) serves who names a value and who names none.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Select, Text, func, literal, literal_column, select, true


def first_of_each(
    query: Select[Any],
    column: Column[str],
    values: Sequence[str],
    *,
    order: Sequence[Column[Any]],
    descending: bool,
    limit: int,
) -> Select[Any]:
    """The query's first rows in the order, of those that have one of the values in the column."""
    each = func.unnest(texts(values)).table_valued("value", name="each").render_derived()
    shown = {shown_column.name for shown_column in query.selected_columns}
    rows = query.add_columns(*(part for part in order if part.name not in shown))
    of_each = in_order(rows.where(column == each.c.value), order, descending=descending, limit=limit)
    found = of_each.lateral("rows_of_each")
    merged = select(found).select_from(each.join(found, true()))
    return in_order(merged, [found.c[part.name] for part in order], descending=descending, limit=limit)


def in_order(
    query: Select[Any], order: Sequence[ColumnElement[Any]], *, descending: bool, limit: int
) -> Select[Any]:
    """The query's first rows. How many is said in words of SQL: a plan for an unknown number is one for very many."""
    parts = [part.desc() if descending else part.asc() for part in order]
    return query.order_by(*parts).limit(literal_column(str(limit)))


def texts(values: Sequence[str]) -> ColumnElement[Any]:
    """An array of them, as one parameter."""
    return literal(list(values), ARRAY(Text))
