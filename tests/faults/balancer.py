"""A load balancer that believes `/readyz`, as those in front of the API do."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx

from devstack.stack import DevStack
from tests.faults.arming import doomed_api
from tests.faults.shop import Json, Shop

BEHIND = 2


@dataclass(frozen=True)
class Balancer:
    """API processes, each with an address of its own, that get requests in turn while they are ready."""

    shop: Shop
    urls: tuple[str, ...]
    turns: Iterator[int] = field(default_factory=itertools.count)

    async def states(self) -> list[tuple[int, Json]]:
        """What each process says of itself."""
        answers = [await self.shop.client.get(f"{url}/readyz") for url in self.urls]
        return [(answer.status_code, answer.json()) for answer in answers]

    async def post(self, path: str, body: Json, *, key: str) -> httpx.Response:
        """The answer of one that is ready. Raises `AssertionError` where none is: nobody would answer."""
        ready = [
            url
            for url, (status, _) in zip(self.urls, await self.states(), strict=True)
            if status == httpx.codes.OK
        ]
        assert ready, "no process is ready: nothing is behind the balancer"
        response = await self.shop.at(ready[next(self.turns) % len(ready)]).post(path, body, key=key)
        assert response is not None
        return response


@asynccontextmanager
async def balancing(stack: DevStack, shop: Shop) -> AsyncIterator[Balancer]:
    """Processes of the stack behind a balancer, while the block runs."""
    async with AsyncExitStack() as processes:
        doomed = [
            await processes.enter_async_context(doomed_api(stack, name=f"balanced-{number}"))
            for number in range(BEHIND)
        ]
        yield Balancer(shop, tuple(one.url for one in doomed))
