"""Whether a commit means what the promises need, when a process starts."""

from sqlalchemy import text

from payonce.domain.claiming import Durability
from payonce.logging import get_logger
from payonce.storage.driver.database import Database, StorageUnavailable
from payonce.storage.standby import look

log = get_logger(__name__)


async def check_durability(database: Database, *, live: bool, durability: Durability | None) -> None:
    """Returns when a commit means what the promises need; raises `StorageUnavailable` otherwise.

    In live mode somebody must answer for RPO 0: a synchronous standby that is there, or the operator's word that the
    volume is replicated. `synchronous_commit` is set by every connection itself.
    """
    if live and durability is None:
        words = " or ".join(Durability)
        raise StorageUnavailable(f"live mode needs PAYONCE_DURABILITY: {words} (docs/operations.md)")
    async with database.reading() as connection:
        for name in ("fsync", "full_page_writes") if live else ():
            value = (await connection.execute(text(f"SHOW {name}"))).scalar_one()
            if value == "off":
                raise StorageUnavailable(f"Postgres runs with {name} = {value}: a commit could be lost")
        sight = await connection.fetch(look())
    if live and durability is Durability.STANDBY and not sight.standby:
        raise StorageUnavailable(
            "PAYONCE_DURABILITY=standby needs a synchronous standby that is named in synchronous_standby_names and"
            " connected; the role needs pg_read_all_stats to see it"
        )
    log.info("durability", rests_on=durability)
