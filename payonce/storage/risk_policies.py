"""What each merchant chose about risk, by mode: one JSON document in the merchant's row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, update

from payonce.domain.errors import NotFound
from payonce.domain.risk import Policy
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import merchants

SERVICE: Final = "http"


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A merchant's policy in one mode, as it lies in Postgres."""

    members: Mapping[str, Any]

    @property
    def parsed(self) -> Policy:
        return Policy.of(self.members)


async def find(connection: Connection, merchant_id: str, *, mode: str) -> StoredPolicy:
    """What holds now. Raises `NotFound`."""
    return StoredPolicy((await _stored(connection, merchant_id)).get(mode, {}))


async def change(
    connection: Connection,
    merchant_id: str,
    *,
    mode: str,
    providers: Sequence[str] | None = None,
    choices: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> StoredPolicy:
    """What is given replaces what there was, and the rest stays. Raises `NotFound`."""
    stored = await _stored(connection, merchant_id)
    before = stored.get(mode, {})
    members = {
        "providers": list(dict.fromkeys(before.get("providers", []) if providers is None else providers)),
        "choices": {**before.get("choices", {}), **(choices or {})},
        "options": {**before.get("options", {}), **(options or {})},
    }
    query = update(merchants).where(merchants.c.id == merchant_id).values(risk={**stored, mode: members})
    await connection.execute(query)
    return StoredPolicy(members)


async def seal_again(connection: Connection, seal: Callable[[str, str, Mapping[str, Any]], Any]) -> None:
    """The secret of every merchant's own service is as `seal` makes it, of merchant, mode and what is stored."""
    query = select(merchants.c.id, merchants.c.risk).where(merchants.c.risk.is_not(None)).with_for_update()
    for row in (await connection.execute(query)).all():
        stored = dict(row.risk)
        for mode, members in stored.items():
            options = members.get("options", {})
            if SERVICE in options:
                service = seal(row.id, mode, options[SERVICE])
                stored[mode] = {**members, "options": {**options, SERVICE: service}}
        await connection.execute(update(merchants).where(merchants.c.id == row.id).values(risk=stored))


async def _stored(connection: Connection, merchant_id: str) -> dict[str, Any]:
    """Locked, so that two who change it do not overwrite each other."""
    query = select(merchants.c.risk).where(merchants.c.id == merchant_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no merchant {merchant_id}.")
    return dict(row.risk or {})
