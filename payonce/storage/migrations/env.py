"""Runs the migrations over one synchronous connection, each in transactions of its own.

So the exclusive lock that a migration takes for a moment is not kept while the next one reads a table.
"""

from alembic import context
from sqlalchemy import create_engine, pool

from payonce.storage.tables import metadata


def run() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Two processes may start at once: the second waits, until the first one's connection is closed, and finds
        # nothing to do.
        connection.exec_driver_sql("SELECT pg_advisory_lock(7290461)")
        # Of the tables from here on: payments wait behind whoever waits for an exclusive lock.
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


run()
