"""What merchants list: customers, e-mail addresses, networks and countries; cards behind the vault's functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.risk_rules import UNKNOWN
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement
from payonce.storage.tables import risk_lists

ENTRIES_MAX: Final = 100_000  # of one merchant in one mode

_MATCHING = Statement(
    text(
        """
    SELECT listed.kind, listed.list FROM risk_lists AS listed
      JOIN (SELECT kind, value FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS said (kind, value)
             UNION ALL
            SELECT 'country', COALESCE(issuer_country, CAST(:unknown AS text)) FROM payment_methods
             WHERE id = CAST(:payment_method_id AS text) AND state = 'active'
               AND merchant_id = CAST(:merchant_id AS text) AND mode = CAST(:mode AS text)) AS given
        ON listed.kind = given.kind AND listed.value = given.value
     WHERE listed.merchant_id = :merchant_id AND listed.mode = :mode
     UNION ALL
    SELECT 'card', list FROM vault.risk_listed(
           CAST(:merchant_id AS text), CAST(:mode AS text), COALESCE(CAST(:card AS text), vault.risk_saved_card(
           CAST(:payment_method_id AS text), CAST(:merchant_id AS text), CAST(:mode AS text)))) AS list
     WHERE list IS NOT NULL
    """
    )
)
_LIST_CARD = text("SELECT vault.risk_list_card(:member, :merchant_id, :mode, :list)")
_UNLIST_CARD = text("SELECT vault.risk_unlist_card(:member, :merchant_id, :mode)")
_SEVERITY: Final = ("allow", "challenge", "review", "block")


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One line of a merchant's lists."""

    kind: str
    value: str
    list: str


def matching(
    merchant_id: str,
    mode: str,
    given: Sequence[tuple[str, str]],
    *,
    card: str | None,
    payment_method_id: str | None = None,
) -> Query[Mapping[str, str]]:
    """What the lists say of what the payment says, by kind: the strictest, where several entries meet.

    What is known of a saved card counts as if the payment said it.
    """
    values = {
        "merchant_id": merchant_id,
        "mode": mode,
        "kinds": [kind for kind, _ in given],
        "values": [value for _, value in given],
        "card": card,
        "payment_method_id": payment_method_id,
        "unknown": UNKNOWN,
    }
    return Query(_MATCHING, values, _strictest)


async def put(connection: Connection, merchant_id: str, mode: str, entry: ListEntry) -> bool:
    """The entry is on this list, and on no other. False: it would be one too many."""
    table = risk_lists.c
    others = select(table.kind).where(
        table.merchant_id == merchant_id,
        table.mode == mode,
        tuple_(table.kind, table.value) != tuple_(entry.kind, entry.value),
    )
    counted = select(func.count()).select_from(others.limit(ENTRIES_MAX).subquery())
    if (await connection.execute(counted)).scalar_one() >= ENTRIES_MAX:
        return False
    row = {
        "merchant_id": merchant_id,
        "mode": mode,
        "kind": entry.kind,
        "value": entry.value,
        "list": entry.list,
        "created_at": datetime.now(UTC),
    }
    query = insert(risk_lists).values(row)
    await connection.execute(
        query.on_conflict_do_update(
            index_elements=["merchant_id", "mode", "kind", "value"], set_={"list": query.excluded.list}
        )
    )
    return True


async def remove(connection: Connection, merchant_id: str, mode: str, *, kind: str, value: str) -> bool:
    """The entry is on no list. False: it was on none."""
    table = risk_lists.c
    where = (table.merchant_id == merchant_id, table.mode == mode, table.kind == kind, table.value == value)
    return bool((await connection.execute(delete(risk_lists).where(*where))).rowcount)


async def entries(connection: Connection, merchant_id: str, mode: str, *, limit: int) -> list[ListEntry]:
    """The merchant's entries but for cards, which nobody is shown."""
    table = risk_lists.c
    query = (
        select(table.kind, table.value, table.list)
        .where(table.merchant_id == merchant_id, table.mode == mode)
        .order_by(table.kind, table.value)
        .limit(limit)
    )
    return [ListEntry(row.kind, row.value, row.list) for row in await connection.execute(query)]


async def put_card(connection: Connection, merchant_id: str, mode: str, member: str, *, list_: str) -> bool:
    """The card of the payment that `member` stands for is listed for 180 days. False: it is not known any more."""
    values = {"member": member, "merchant_id": merchant_id, "mode": mode, "list": list_}
    return bool((await connection.execute(_LIST_CARD, values)).scalar_one())


async def remove_card(connection: Connection, merchant_id: str, mode: str, member: str) -> bool:
    """The card of the payment that `member` stands for is on no list. False: it was on none."""
    values = {"member": member, "merchant_id": merchant_id, "mode": mode}
    return bool((await connection.execute(_UNLIST_CARD, values)).scalar_one())


def _strictest(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: _SEVERITY.index(row["list"])):
        found[row["kind"]] = row["list"]
    return found
