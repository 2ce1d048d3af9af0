"""What every way to dial of ours is besides the dialling itself: by TCP alone."""

import asyncio
from collections.abc import Iterable

import httpcore


class TcpOnly(httpcore.AsyncNetworkBackend):
    """Has no sockets but TCP's; who dials says how (`connect_tcp`)."""

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
