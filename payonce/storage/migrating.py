"""Brings a database to the newest schema, in two steps where a release has a predecessor that still runs.

A migration leaves the version before working. What only that version needs goes by one with `ONCE_REPLACED = True`:
it waits until somebody says that the last process of that version is gone, or a later release migrates.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool

from payonce.storage.driver.database import engine_url


def upgrade(url: str, *, replaced: bool = False) -> bool:
    """Every migration is applied that the version before lives with; whether that is all. Safe to repeat.

    `replaced`: no process of the version before runs, so all are. So they are where there was no schema.
    """
    config = migration_config(url)
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    assert newest is not None
    before = _revision(url)
    target = newest if replaced or before is None else _lived_with(scripts, newest)
    command.upgrade(config, target)
    return _revision(url) == newest


def migration_config(url: str) -> Config:
    """What Alembic needs to know to migrate the database."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = engine_url(url)
    return config


def _lived_with(scripts: ScriptDirectory, newest: str) -> str:
    """The newest revision that is no migration for later, as are all after it."""
    script = scripts.get_revision(newest)
    while getattr(script.module, "ONCE_REPLACED", False):
        assert isinstance(script.down_revision, str)
        script = scripts.get_revision(script.down_revision)
    return script.revision


def _revision(url: str) -> str | None:
    """The schema's; None: there is none yet."""
    engine = create_engine(engine_url(url), poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
