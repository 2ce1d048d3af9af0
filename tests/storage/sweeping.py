"""Sweepers over a test's ledger."""

from typing import Any

from tests.storage.ledger import Ledger, runtime_of
from workers.sweeper import Sweeper


def sweeper_of(ledger: Ledger, temporal: Any) -> Sweeper:
    return Sweeper(runtime_of(ledger), temporal)
