"""Runs the migrations over one synchronous connection, each in transactions of its own.

So the exclusive lock that a migration takes for a moment is not kept while the next one reads a table.
"""

import time
from typing import Final

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from payonce.storage.tables import metadata

TURN_WITHIN_S: Final = 6 * 3600  # an index over a large table takes a while
ASK_AGAIN_S: Final = 0.2


def run() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        _take_turn(connection)
        # Of the tables from here on: payments wait behind whoever waits for an exclusive lock.
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


def _take_turn(connection: Connection) -> None:
    """Nobody else migrates, until the connection is closed. Raises `TimeoutError`.

    Two processes may start at once: the second waits, and finds nothing to do. It asks again and again, since an
    index that is built concurrently waits for every transaction, also for one that waits for a lock.
    """
    for _ in range(round(TURN_WITHIN_S / ASK_AGAIN_S)):
        mine = connection.exec_driver_sql("SELECT pg_try_advisory_lock(7290461)").scalar_one()
        connection.commit()
        if mine:
            return
        time.sleep(ASK_AGAIN_S)
    raise TimeoutError(f"another process has been migrating for {TURN_WITHIN_S} s")


run()
