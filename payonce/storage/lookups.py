"""Looking a payment up by what its merchant calls it, in the first of several spellings that there is."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import TextClause, text

from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller

_OF_KEY: Final = text(
    """
    SELECT payment.id
      FROM unnest(CAST(:keys AS text[])) WITH ORDINALITY AS meant (key, number)
     CROSS JOIN LATERAL (
           SELECT operation_id FROM idempotency_keys
            WHERE merchant_id = :merchant_id AND mode = :mode AND key = meant.key
            LIMIT 1) AS used
     CROSS JOIN LATERAL (
           SELECT id FROM payments WHERE id = used.operation_id LIMIT 1) AS payment
     ORDER BY number LIMIT 1
    """
)
_REFERENCE: Final = text(
    """
    SELECT meant.reference
      FROM unnest(CAST(:references AS text[])) WITH ORDINALITY AS meant (reference, number)
     CROSS JOIN LATERAL (
           SELECT FROM payments
            WHERE merchant_id = :merchant_id AND mode = :mode AND merchant_reference = meant.reference
            LIMIT 1) AS found
     ORDER BY number LIMIT 1
    """
)


async def payments_of_key(connection: Connection, caller: Caller, keys: Sequence[str]) -> list[str]:
    """The id of the payment that the first of these keys made that made one, if any did.

    A create's operation has the id of its payment.
    """
    found = await _first(connection, caller, _OF_KEY, keys=keys)
    return [] if found is None else [found]


async def reference_in_use(connection: Connection, caller: Caller, references: Sequence[str]) -> str:
    """The first of these references that a payment has; the first of all where none has one."""
    if len(references) == 1:
        return references[0]
    return await _first(connection, caller, _REFERENCE, references=references) or references[0]


async def _first(
    connection: Connection, caller: Caller, query: TextClause, **spellings: Sequence[str]
) -> str | None:
    parameters = {"merchant_id": caller.merchant_id, "mode": caller.mode}
    found = await connection.execute(
        query, parameters | {name: list(each) for name, each in spellings.items()}
    )
    return found.scalar_one_or_none()
