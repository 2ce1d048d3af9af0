"""What a process of a stack counts."""

import httpx

from devstack.stack import DevStack


async def metrics_of(stack: DevStack, name: str) -> str:
    """As Prometheus would get it from the process called so in `metrics_urls`."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return (await client.get(stack.metrics_urls[name])).raise_for_status().text
