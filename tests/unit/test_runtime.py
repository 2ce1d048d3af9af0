"""What a process does once it has started."""

import gc
from collections.abc import Iterator

import pytest

from payonce.runtime import COLLECT_AFTER, spare_collector


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_collections_do_not_look_through_what_starting_left() -> None:
    there: list[list[int]] = [[] for _ in range(COLLECT_AFTER)]
    spare_collector()
    assert gc.get_freeze_count() > len(there)
    assert len(gc.get_objects()) < len(there)
    assert gc.get_threshold()[0] == COLLECT_AFTER
