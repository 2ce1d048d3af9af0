"""Ids as a process derives them, for who writes to its database beside it."""

from payonce.domain.ids import IdFactory
from payonce.runtime import ids_of
from payonce.settings import Settings


def ids_of_key(derivation_key: str, *, cell: str = "a") -> IdFactory:
    """What a process with this `PAYONCE_DERIVATION_KEY` and `PAYONCE_CELL` derives ids with."""
    nowhere = {"database_url": "postgresql://nowhere", "redis_url": "redis://nowhere"}
    return ids_of(Settings(**nowhere, temporal_address="nowhere:1", derivation_key=derivation_key, cell=cell))
