"""Walks through what acquirers do later: each plays one thing in `make dev` and shows all three sides of it."""

from typing import Final

from tests.e2e.walks import acquirers, vendors
from tests.e2e.walks.scene import Walk

WALKS: Final[dict[str, Walk]] = {**acquirers.WALKS, **vendors.WALKS}
