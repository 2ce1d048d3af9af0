"""Whom one attempt talks to: the address that was judged, and the name that its certificate proves (§2.4, 3)."""

import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from payonce.webhooks.addresses import IPAddress, NameNotResolved
from payonce.webhooks.attempt import Acknowledged, Failed, Reason, Sender
from tests.webhooks.receiver import (
    receiving,
)
from tests.webhooks.sending import (
    SECRETS,
    SENDER,
    answers,
    certificate_for,
    lease_for,
    server_side,
)


async def test_nobody_listening_is_failure() -> None:
    async with receiving() as receiver:
        url = receiver.url

    assert (await SENDER.attempt(lease_for(url))).result == Failed(None, Reason.CONNECTION_FAILED)


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        attempt = await Sender(allow_loopback=True, secrets=SECRETS).attempt(lease_for(receiver.url))

    assert attempt.result == Acknowledged(204)
    assert proxy.connections == 0


async def test_loopback_outside_of_the_development_stack_is_never_dialled() -> None:
    async with receiving() as receiver:
        attempt = await replace(SENDER, allow_loopback=False).attempt(lease_for(receiver.url))

    assert attempt.result == Failed(None, Reason.FORBIDDEN_ADDRESS)
    assert attempt.record()["error"] == "forbidden_address"
    assert receiver.connections == 0


async def test_a_name_that_was_rebound_after_registration_is_not_dialled() -> None:
    async with receiving() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])
        look_up = answers(["93.184.216.34"], ["127.0.0.1"])
        await look_up("merchant.example", port)  # the registration's

        attempt = await replace(SENDER, look_up=look_up).attempt(lease_for("http://merchant.example:8080/"))

    assert attempt.result == Failed(None, Reason.FORBIDDEN_ADDRESS)
    assert receiver.connections == 0


async def test_the_name_is_resolved_once_and_the_judged_address_is_dialled() -> None:
    async with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        attempt = await replace(SENDER, look_up=answers(["127.0.0.1"])).attempt(lease_for(url))

    assert attempt.result == Acknowledged(204)  # a second look-up would have raised
    assert receiver.received[0].headers["host"] == url.split("/")[2]


async def test_an_address_that_refuses_is_followed_by_the_next() -> None:
    async with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        attempt = await replace(SENDER, look_up=answers(["127.0.0.9", "127.0.0.1"])).attempt(lease_for(url))

    assert attempt.result == Acknowledged(204)


async def test_a_name_that_does_not_resolve_is_failure() -> None:
    async def unknown(_host: str, _port: int) -> Sequence[IPAddress]:
        raise NameNotResolved

    attempt = await replace(SENDER, look_up=unknown).attempt(lease_for("https://merchant.example/"))

    assert attempt.result == Failed(None, Reason.NAME_NOT_RESOLVED)


async def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path) -> None:
    certificate = certificate_for(tmp_path, "a.localhost")
    trusting = replace(SENDER, tls=ssl.create_default_context(cafile=str(certificate)))
    async with receiving(tls=server_side(certificate)) as receiver:
        port = receiver.url.split(":")[2].split("/")[0]
        results = [
            (await replace(sender, look_up=answers(["127.0.0.1"])).attempt(lease_for(url))).result
            for sender, url in [
                (trusting, f"https://a.localhost:{port}/"),
                (trusting, f"https://a.localhost.:{port}/"),
                (trusting, f"https://b.localhost:{port}/"),
                (SENDER, f"https://a.localhost:{port}/"),
            ]
        ]

    refused = Failed(None, Reason.TLS_FAILED)
    assert results == [Acknowledged(204), Acknowledged(204), refused, refused]
    assert [request.headers["host"] for request in receiver.received] == [
        f"a.localhost:{port}",
        f"a.localhost.:{port}",
    ]


@pytest.mark.parametrize(
    ("certified", "host", "fits"),
    [
        ("*.shop.localhost", "a_b.shop.localhost", True),
        ("*.SHOP.localhost", "_.shop.localhost", True),
        ("a_b.shop.localhost", "a_b.shop.localhost", True),
        ("*.shop.localhost", "a_b.c.shop.localhost", False),
        ("*.shop.localhost", "a_b.other.localhost", False),
        ("*.localhost", "a_b.localhost", False),
        ("a*.shop.localhost", "a_b.shop.localhost", False),
        ("shop.localhost", "a_b.shop.localhost", False),
    ],
)
async def test_a_wildcard_is_for_names_with_an_underscore(
    certified: str, host: str, fits: bool, tmp_path: Path
) -> None:
    """Issue 14, 18: they are valid endpoints, no authority names them, and OpenSSL refuses the wildcard."""
    certificate = certificate_for(tmp_path, certified)
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    sender = replace(SENDER, tls_of_any_name=trusting, look_up=answers(["127.0.0.1"], ["127.0.0.1"]))
    async with receiving(tls=server_side(certificate)) as receiver:
        url = f"https://{host}:{receiver.url.split(':')[2]}"
        results = [
            (await each.attempt(lease_for(url))).result
            for each in (sender, replace(sender, tls_of_any_name=SENDER.tls_of_any_name))
        ]

    refused = Failed(None, Reason.TLS_FAILED)
    assert results == [
        Acknowledged(204) if fits else refused,
        refused,
    ]  # the second does not trust its authority
    assert len(receiver.received) == fits
