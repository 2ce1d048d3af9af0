"""The API that a developer's commands talk to, and how they talk to it."""

import json
from collections.abc import Mapping
from typing import Annotated, Final

import httpx
import typer

from payonce.cli.base import STATE_DIRECTORY, CommandRefused

DEV_JSON: Final = STATE_DIRECTORY / "dev.json"

ApiUrl = Annotated[
    str | None,
    typer.Option("--api-url", envvar="PAYONCE_API_URL", help=f"The API; else that of {DEV_JSON}."),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="PAYONCE_API_KEY", help=f"A test key; else that of {DEV_JSON}."),
]


def api_client(url: str | None, key: str | None, *, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client of the API with the key, not open yet. Raises `CommandRefused` when either is unknown or live."""
    if url is None or key is None:
        written = _dev_json()
        url, key = url or written["api_url"], key or written["api_key"]
    if not key.startswith("sk_test_"):
        raise CommandRefused("this is for test keys (sk_test_…) only")
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "payonce-cli", "Accept-Encoding": "identity"}
    return httpx.AsyncClient(base_url=web_url(url), headers=headers, timeout=timeout, trust_env=False)


def web_url(url: str) -> str:
    """An http or https URL; `localhost:4242/hooks` gets its `http://`. Raises `CommandRefused`."""
    try:
        parsed = httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise CommandRefused(f"{url!r} is not an http or https URL")
    return str(parsed)


def detail_of(body: bytes) -> str:
    """What a problem document says, in one line; the beginning of anything else."""
    try:
        problem = json.loads(body)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def _dev_json() -> Mapping[str, str]:
    """What `make dev` wrote. Raises `CommandRefused`."""
    try:
        written = json.loads(DEV_JSON.read_text())
        return {name: str(written[name]) for name in ("api_url", "api_key")}
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandRefused(
            "say --api-url and --api-key (or PAYONCE_API_URL and PAYONCE_API_KEY), or run `make dev` here: there"
            f" is no {DEV_JSON}"
        ) from None
