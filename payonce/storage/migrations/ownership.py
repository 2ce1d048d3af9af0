"""For migrations: what belongs to a role as whom nobody logs in is made and changed as that role.

What is done here for a released migration never changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alembic import op

VAULT: Final = "payonce_vault"
AUDIT: Final = "payonce_audit"
# Where a person made the roles, that person made us a member, too.
_JOIN: Final = """
DO $$ BEGIN
    EXECUTE format('GRANT {owner} TO %I', current_user);
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""
_LEAVE: Final = """
DO $$ BEGIN
    EXECUTE format('REVOKE {owner} FROM %I', current_user);
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""


@contextmanager
def as_owner_of_vault() -> Iterator[None]:
    """What the block executes is executed by the vault's role; an error ends the migration, and all that it did."""
    with _acting_as(VAULT):
        yield


@contextmanager
def as_owner_of_audit() -> Iterator[None]:
    """As `as_owner_of_vault`, by the audit log's role."""
    with _acting_as(AUDIT):
        yield


@contextmanager
def _acting_as(owner: str) -> Iterator[None]:
    op.execute(_JOIN.format(owner=owner))
    op.execute(f"SET LOCAL ROLE {owner}")
    yield
    op.execute("RESET ROLE")
    op.execute(_LEAVE.format(owner=owner))
