"""Reads, and sets up, the sandbox acquirer: the independent witness of what was really charged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

Entry = dict[str, Any]
PAGES_MAX = 100


@dataclass(frozen=True)
class Witness:
    """A client of the acquirer's own pages, which need no key."""

    url: str
    client: httpx.AsyncClient

    async def ledger(self, **query: str) -> list[Entry]:
        """The money that moved, oldest first; `payment_reference=` or `reference=` narrows it."""
        return await self._entries("/ledger", query)

    async def requests(self, **query: str) -> list[Entry]:
        """Every request it received, in order, with the answer it gave."""
        return await self._entries("/requests", query)

    async def movements(self, payment_id: str) -> list[tuple[str, int]]:
        """Operation and amount of each movement of the payment."""
        entries = await self.ledger(payment_reference=payment_id)
        return [(entry["operation"], entry["amount"]) for entry in entries]

    async def configure(self, **members: object) -> None:
        """Its configuration has these members from now on."""
        (await self.client.patch("/config", json=members)).raise_for_status()

    async def _entries(self, path: str, query: dict[str, str]) -> list[Entry]:
        found: list[Entry] = []
        after: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = (await self.client.get(path, params={**query, **after})).raise_for_status().json()
            found += page["entries"]
            if not page.get("has_more"):
                return found
            after = {"after": page["entries"][-1]["id"]}
        raise AssertionError(f"{path} has more than {PAGES_MAX} pages")


@asynccontextmanager
async def witness_of(acquirer_url: str) -> AsyncIterator[Witness]:
    """A witness at this acquirer."""
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        yield Witness(acquirer_url, client)
