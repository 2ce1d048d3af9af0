"""What the gate decides without anybody's help."""

import asyncio
from typing import Any, cast

import pytest

from api import gate
from api.gate import Asked, KnownKeys, work_of
from api.limits import Work
from payonce.storage.database import Database, StorageUnavailable


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/v1/payments", Work.CREATE),
        ("POST", "/v1/payments/pay_1/capture", Work.CHANGE),
        ("POST", "/v1/payments/pay_1/void", Work.CHANGE),
        ("POST", "/v1/payments/pay_1/refunds", Work.CHANGE),
        ("GET", "/v1/payments", None),
        ("POST", "/v1/payments/pay_1/receipt", None),
        ("POST", "/v1/payments/", None),
        ("POST", "/v1/webhook_endpoints", None),
    ],
)
def test_only_what_moves_money_needs_a_place(method: str, path: str, work: Work | None) -> None:
    assert work_of(method, path) is work


class Counting(KnownKeys):
    """Knows the keys that begin with `known`; remembers how many were asked for in each query."""

    def __init__(self) -> None:
        super().__init__(cast("Database", cast("Any", None)))
        self.queries: list[int] = []
        self.fails = False

    async def _read(self, asked: set[Asked]) -> frozenset[Asked]:
        self.queries.append(len(asked))
        if self.fails:
            raise StorageUnavailable("down")
        return frozenset(one for one in asked if one.key.startswith("known"))


async def test_many_keys_are_looked_up_in_one_query() -> None:
    keys = Counting()
    names = [f"known-{n}" for n in range(20)] + [f"new-{n}" for n in range(20)]
    assert (
        await asyncio.gather(*(keys.ask(Asked(b"h", name)) for name in names)) == [True] * 20 + [False] * 20
    )
    assert keys.queries == [40]
    assert await keys.ask(Asked(b"h", "new")) is False
    assert keys.queries == [40, 1]


async def test_what_cannot_be_looked_up_is_not_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Counting()
    keys.fails = True
    with pytest.raises(StorageUnavailable):
        await keys.ask(Asked(b"h", "known"))
    monkeypatch.setattr(gate, "LOOK_UPS_MAX", 1)
    keys.fails = False
    first = asyncio.create_task(keys.ask(Asked(b"h", "known")))
    await asyncio.sleep(0)
    with pytest.raises(StorageUnavailable):
        await keys.ask(Asked(b"h", "one too many"))
    assert await first
