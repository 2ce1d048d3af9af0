"""Where webhooks may go (SSRF): every spelling of an address that is not public is refused."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from payonce.domain.errors import InvalidRequest
from payonce.webhooks import addresses
from payonce.webhooks.addresses import (
    ForbiddenAddress,
    IPAddress,
    LookUp,
    NameNotResolved,
    check_url,
    is_public,
    parse_url,
    resolve,
)

PUBLIC = (
    "93.184.216.34",
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450::8a",
)
FORBIDDEN = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("168.63.129.16", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a00:1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1"),
    *("2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "4000::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
)
REFUSED_URLS = (
    *("http://merchant.example/", "ftp://merchant.example/", "//merchant.example/", "merchant.example", ""),
    *(
        "https://",
        "https:///hook",
        "https:merchant.example",
        "file:///etc/passwd",
        "gopher://merchant.example/",
    ),
    *(
        "https://user@merchant.example/",
        "https://user:pw@merchant.example/",
        "https://good.example@evil.example/",
    ),
    *(
        "https://evil.example#@good.example",
        "https://merchant.example/#part",
        "https://merchant.example\\@evil",
    ),
    *(
        "https://merchant.example /",
        " https://merchant.example/",
        "https://merchant.example/\r\nX: y",
        "https://a\t.b/",
    ),
    *("https://merchant.example:22/", "https://merchant.example:25/", "https://merchant.example:5432/"),
    *("https://merchant.example:6379/", "https://merchant.example:80/", "https://merchant.example:0443x/"),
    *("https://merchant.example:0/", "https://merchant.example:99999/", "https://merchant.example:-1/"),
    *(
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0177.0.0.1/",
    ),
    *(
        "https://127.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.0.0.01/",
        "https://0/",
        "https://1/",
    ),
    *(
        "https://10.0.0.1:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://1.1.1.1.1/",
        "https://256.1.1.1/",
    ),
    *(
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::]/",
        "https://[fe80::1]/",
    ),
    *(
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
    ),
    *("https://[::1", "https://::1/", "https://[1.1.1.1]/", "https://[:::]/"),
    *("https://localhost/", "https://LOCALHOST:8443/", "https://a.localhost/", "https://printer.local/"),
    *(
        "https://metadata.google.internal/",
        "https://router.lan/",
        "https://intranet/",
        "https://a.home.arpa/",
    ),
    *("https://a..b.example/", "https://.example.com/", "https://merchant.example../", "https://-a.example/"),
    *(
        "https://./",
        "https://localhost./",
        "https://printer.local./",
        "https://intranet./",
        "https://1.1.1.1./",
    ),
    *("https://merchant.example/h%zz", "https://merchant.example/?a=%4", "https://merchant.example/%"),
    *("https://merchant.example/x[]", "https://merchant.example/?a=<b>", "https://merchant[].example/"),
    *(
        f"https://{'a' * 64}.example/",
        "https://ⓛocalhost/",
        "https://\uff11\uff12\uff17.0.0.1/",
    ),
    *("https://bücher.example/", "https://merchant.example/ü", f"https://merchant.example/{'a' * 2048}"),
)


def answering(*addresses: str) -> LookUp:
    async def look_up(_host: str, _port: int) -> Sequence[IPAddress]:
        return [ip_address(address) for address in addresses]

    return look_up


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", FORBIDDEN)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_is_refused_by_its_form(url: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_url(url, mode="live", allow_loopback=False)

    assert refusal.value.problem_code == "webhook_url_forbidden"
    assert refusal.value.pointer == "/url"


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_literal_that_is_not_public_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidRequest):
        check_url(f"https://{host}/", mode="test", allow_loopback=False)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_is_forbidden_for_one_bad_address_among_good_ones(address: str) -> None:
    target = parse_url("https://merchant.example/", mode="live", allow_loopback=False)
    with pytest.raises(ForbiddenAddress) as refusal:
        await resolve(target, look_up=answering("93.184.216.34", address, "2606:4700::1111"))

    assert address not in refusal.value.message  # what our resolver knows is not the merchant's business


@pytest.mark.parametrize(
    "url",
    [
        "https://merchant.example",
        "HTTPS://Merchant.Example/Hook?a=b&c=%20",
        "https://merchant.example:8443/x;y=1/~z",
        "https://xn--bcher-kva.example/",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]:8443/",
        "https://web_hooks.merchant.example/",
        "https://_hooks.merchant.example/",
        "https://merchant.example./hook",
        "https://merchant.example/?x[]=1&y[a]=%5B2",
    ],
)
def test_a_public_https_url_may_be_registered(url: str) -> None:
    """Issue 14, 18: endpoints as they are, with `_`, a dot at the end, and members such as `x[]=1`."""
    check_url(url, mode="live", allow_loopback=False)


@pytest.mark.parametrize("url", ["http://merchant.example/", "http://merchant.example:8080/"])
def test_plain_http_is_for_test_mode(url: str) -> None:
    check_url(url, mode="test", allow_loopback=False)
    with pytest.raises(InvalidRequest):
        check_url(url, mode="live", allow_loopback=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4711/hook", "http://localhost:1/", "http://[::1]:4711/"])
def test_loopback_is_for_the_development_stack(url: str) -> None:
    check_url(url, mode="test", allow_loopback=True)
    with pytest.raises(InvalidRequest):
        check_url(url, mode="test", allow_loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://0x7f.1:4711/",
        "http://2130706433:4711/",
        "http://127.0.0.1.:4711/",
        "http://[::ffff:127.0.0.1]:4711/",
        "http://0.0.0.0:4711/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
    ],
)
def test_the_development_stack_allows_nothing_but_plain_loopback(url: str) -> None:
    with pytest.raises(InvalidRequest):
        check_url(url, mode="test", allow_loopback=True)


async def test_a_name_rebound_to_loopback_is_forbidden_in_the_development_stack_too() -> None:
    target = parse_url("http://rebound.example/", mode="test", allow_loopback=True)
    with pytest.raises(ForbiddenAddress):
        await resolve(target, look_up=answering("127.0.0.1"))


async def test_localhost_that_resolves_elsewhere_is_refused() -> None:
    target = parse_url("http://localhost:4711/", mode="test", allow_loopback=True)
    with pytest.raises(ForbiddenAddress):
        await resolve(target, look_up=answering("127.0.0.1", "10.0.0.1"))


async def test_a_name_with_a_thousand_addresses_is_judged_whole() -> None:
    many = [f"93.184.{number // 250}.{number % 250}" for number in range(1000)]
    target = parse_url("https://merchant.example/", mode="live", allow_loopback=False)

    assert len(await resolve(target, look_up=answering(*many))) == 1000
    with pytest.raises(ForbiddenAddress):
        await resolve(target, look_up=answering(*many, "127.0.0.1"))


async def test_names_whose_resolver_hangs_leave_the_others_their_look_ups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many attempts want them: each name has one thread, whoever stops waiting for it."""
    answering, asked = threading.Event(), []

    def tarpit(host: str, *rest: Any, **named: Any) -> list[Any]:
        if host != "shop.example":
            asked.append(host)
            answering.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", tarpit)
    names = ["one.tarpit.example", "two.tarpit.example"] * addresses.LOOKUP_THREADS
    waiting = [asyncio.create_task(addresses.look_up(name, 443)) for name in names]
    try:
        await asyncio.wait(waiting, timeout=0.05)
        waiting[0].cancel()  # its time was over
        async with asyncio.timeout(15):  # sooner than the others are told
            assert await addresses.look_up("shop.example", 443) == [ip_address("93.184.216.34")]
    finally:
        answering.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert sorted(asked) == sorted(set(names))
    assert {type(result) for result in results[1:]} == {NameNotResolved}


async def test_a_name_that_was_looked_up_is_looked_up_again_for_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["93.184.216.34", "1.1.1.1"]

    def changing(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), 443))]

    monkeypatch.setattr(socket, "getaddrinfo", changing)

    assert await addresses.look_up("shop.example", 443) == [ip_address("93.184.216.34")]
    assert await addresses.look_up("shop.example", 443) == [ip_address("1.1.1.1")]
