"""What Redis missed while it was away for longer than its counts are kept is given up, and nothing after it."""

from typing import Any, cast

import pytest
from redis.exceptions import RedisError

from payonce.domain.risk_rules import WITHIN_S_MAX
from payonce.risk.counts import VelocityCounts
from tests.support.eventually import eventually


class AwayRedis:
    """Answers no script."""

    def register_script(self, _script: str) -> Any:
        async def refuses(**_: Any) -> None:
            raise RedisError("away")

        return refuses


async def test_what_is_missed_after_a_day_without_redis_is_counted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("payonce.risk.counts.MENDED_AFTER_S", WITHIN_S_MAX / 2)  # two looks are a day
    counts = VelocityCounts(cast("Any", AwayRedis()), cast("Any", None), mended_after_s=0)
    looks: list[bool] = []
    away = True

    async def put_since(*_: Any) -> int:
        looks.append(away)
        if away:
            raise RedisError("away")
        return 1

    monkeypatch.setattr(counts, "_put_since", put_since)

    async def is_quiet() -> bool:
        return not counts._working

    counts.tell("mer_1", "test", "member_1", declined=True)
    await eventually(is_quiet)
    assert looks == [True, True]
    away = False
    counts.tell("mer_1", "test", "member_2", declined=True)
    await eventually(is_quiet)
    assert looks == [True, True, False]
    assert not counts._missing
