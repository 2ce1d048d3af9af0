"""Whether a merchant's cards may be saved in the vault, as far as it is known where the command runs."""

import sys
from datetime import UTC, datetime

from payonce.cli.base import CommandRefused
from payonce.domain.issuers import KNOWN_FOR
from payonce.domain.payment_methods import CardStorage
from payonce.settings import Settings
from payonce.storage import issuers
from payonce.storage.driver.connection import Connection


async def check(connection: Connection, card_storage: CardStorage | None, settings: Settings) -> None:
    """Raises `CommandRefused` where the vault would refuse every card; says so where nothing names its keys."""
    if card_storage != "vault":
        return
    if settings.live:
        imported = await issuers.in_force(connection)
        if imported is None or datetime.now(UTC) - imported.imported_at >= KNOWN_FOR:
            raise CommandRefused(
                "In live mode the vault keeps cards of known countries only, and the table of issuers is missing or"
                f" older than {KNOWN_FOR.days} days: `payonce bins import FILE` first."
            )
    if settings.vault_key_file is None and settings.vault_transit_url is None:
        print(
            "payonce: no keys of the vault are named here; where API processes have none either, saving answers 503",
            file=sys.stderr,
        )
