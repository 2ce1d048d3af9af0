"""What a process does once it has started."""

import gc
from collections.abc import Iterator

import pytest

from payonce.runtime import COLLECT_AFTER, open_runtime, spare_collector
from payonce.settings import Settings, SettingsWrong


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_collections_do_not_look_through_what_starting_left() -> None:
    there: list[list[int]] = [[] for _ in range(COLLECT_AFTER)]
    frozen = gc.get_freeze_count()
    spare_collector()
    assert gc.get_freeze_count() - frozen > len(there)
    assert len(gc.get_objects()) < len(there)
    assert gc.get_threshold()[0] == COLLECT_AFTER


@pytest.mark.parametrize(
    "url",
    ["redis://:SECRET@redis/0?db=x", "rediss://:SECRET@redis/0?ssl_mode=x"],
)
async def test_what_is_no_url_of_redis_is_named_before_anything_is_connected(url: str) -> None:
    """It ended in a traceback, and a member that Redis' client does not know in an API that ran without Redis."""
    settings = Settings(
        database_url="postgresql://payonce@db/payonce",
        redis_url=url,
        temporal_address="temporal:7233",
        derivation_key="d" * 32,
    )
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_REDIS_URL: ") as refused:
        async with open_runtime(settings):
            raise AssertionError
    assert "SECRET" not in refused.value.message
