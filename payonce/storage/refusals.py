"""What Temporal refuses to take, and would refuse for ever: counted, so that a person hears of it."""

from sqlalchemy import update

from payonce.storage.connection import Connection
from payonce.storage.tables import operations


async def count_refusal(connection: Connection, operation_id: str) -> int:
    """One refusal more of the operation, if it is pending; returns how many there were, 0 where it is not."""
    counted = (
        update(operations)
        .where(operations.c.id == operation_id, operations.c.status == "pending")
        .values(refusals=operations.c.refusals + 1)
        .returning(operations.c.refusals)
    )
    return (await connection.execute(counted)).scalar_one_or_none() or 0
