"""Runs the migrations over one synchronous connection."""

from alembic import context
from sqlalchemy import create_engine, pool

from payonce.storage.tables import metadata


def run() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            # Two processes may start at once: the second waits and finds nothing to do.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7290461)")
            context.run_migrations()


run()
