"""Who looks at lists has a few connections; who moves money has all others, however many look."""

import asyncio

from sqlalchemy import text

from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from tests.support.eventually import eventually

WRITERS, READERS, BROWSERS, LOOKING = 8, 4, 2, 30


async def test_thirty_who_look_at_lists_leave_payments_all_their_connections(database_url: str) -> None:
    database = Database(database_url, pool_size=WRITERS)
    looking, seen, enough = 0, asyncio.Event(), asyncio.Event()

    async def look() -> None:
        nonlocal looking
        async with database.browsing() as connection:
            await _backend(connection)
            looking += 1
            await enough.wait()

    async def pay(*, writes: bool) -> int:
        async with database.transaction() if writes else database.reading() as connection:
            backend = await _backend(connection)
            paying.append(backend)
            await seen.wait()
        return backend

    async def all_look() -> bool:
        return looking == BROWSERS

    async def all_pay() -> bool:
        return len(paying) == WRITERS + READERS

    paying: list[int] = []
    lookers = [asyncio.create_task(look()) for _ in range(LOOKING)]
    await eventually(all_look)
    payers = [asyncio.create_task(pay(writes=number < WRITERS)) for number in range(WRITERS + READERS)]
    await eventually(all_pay)
    assert looking == BROWSERS
    seen.set()
    assert len(set(await asyncio.gather(*payers))) == WRITERS + READERS
    enough.set()
    await asyncio.gather(*lookers)
    assert looking == LOOKING
    await database.close()


async def _backend(connection: Connection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
