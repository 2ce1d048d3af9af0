"""Temporal behind TLS: its certificate is verified, ours is shown, the API key is sent. Without them: nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from payonce.settings import Settings, SettingsWrong
from tests.support.tls import LOOPBACK, Authority, Certificate, tls_in_front_of
from workers import temporal
from workers.temporal import client_of, connect

API_KEY = "an-api-key-of-temporal-cloud"
PROBE = timedelta(seconds=10)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def server(authority: Authority) -> Certificate:
    return authority.sign(LOOPBACK)


def settings(address: str, **given: Any) -> Settings:
    return Settings(
        database_url="postgresql://nowhere",
        redis_url="redis://nowhere",
        derivation_key="d" * 32,
        temporal_address=address,
        **given,
    )


async def reaches(chosen: Settings) -> bool:
    """Whether Temporal answers the client that the product makes of the settings."""
    try:
        client = await client_of(chosen)
    except RuntimeError:
        return False
    assert await client.service_client.check_health(timeout=PROBE)
    return True


async def test_temporal_is_reached_by_tls_of_an_authority_that_is_named(
    temporal_server: str, authority: Authority, server: Certificate
) -> None:
    async with tls_in_front_of(temporal_server, server) as front:
        assert await reaches(settings(front.address, temporal_tls_ca=authority.certificate))
        assert front.requests


async def test_a_certificate_that_nobody_known_signed_is_refused(
    temporal_server: str, tmp_path: Path, server: Certificate
) -> None:
    other = Authority(tmp_path, "other")
    async with tls_in_front_of(temporal_server, server) as front:
        assert not await reaches(settings(front.address, temporal_tls=True))
        assert not await reaches(settings(front.address, temporal_tls_ca=other.certificate))
        assert not await reaches(settings(front.address))  # in the clear
        assert front.requests == []


async def test_a_certificate_for_another_name_is_refused_unless_that_name_is_set(
    temporal_server: str, authority: Authority
) -> None:
    named = {"temporal_tls_ca": authority.certificate, "temporal_tls_server_name": "temporal.test"}
    async with tls_in_front_of(temporal_server, authority.sign("temporal.test")) as front:
        assert not await reaches(settings(front.address, temporal_tls_ca=authority.certificate))
        assert await reaches(settings(front.address, **named))


async def test_a_server_that_asks_for_a_certificate_gets_ours(
    temporal_server: str, authority: Authority, server: Certificate, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    ours, strange = clients.sign("payonce.test"), Authority(tmp_path, "strange").sign("strange.test")
    async with tls_in_front_of(temporal_server, server, clients=clients) as front:
        ca = authority.certificate
        assert not await reaches(settings(front.address, temporal_tls_ca=ca))
        assert not await reaches(settings(front.address, temporal_tls_ca=ca, **own(strange)))
        assert front.requests == []
        assert await reaches(settings(front.address, temporal_tls_ca=ca, **own(ours)))


async def test_the_api_key_goes_with_every_request_and_only_by_tls(
    temporal_server: str, authority: Authority, server: Certificate
) -> None:
    async with tls_in_front_of(temporal_server, server) as front:
        chosen = settings(front.address, temporal_tls_ca=authority.certificate, temporal_api_key=API_KEY)
        assert await reaches(chosen)
        assert {request["authorization"] for request in front.requests} == {f"Bearer {API_KEY}"}
    assert not await reaches(settings(temporal_server, temporal_api_key=API_KEY))  # which takes no TLS
    assert API_KEY not in repr(chosen)


def own(ours: Certificate) -> dict[str, Path]:
    return {"temporal_tls_cert": ours.certificate, "temporal_tls_key": ours.key}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"temporal_tls_ca": "/nowhere/ca.pem"}, "temporal_tls_ca"),
        (
            {"temporal_tls_cert": __file__},
            "PAYONCE_TEMPORAL_TLS_CERT and PAYONCE_TEMPORAL_TLS_KEY go together",
        ),
        (
            {"temporal_tls_key": __file__},
            "PAYONCE_TEMPORAL_TLS_CERT and PAYONCE_TEMPORAL_TLS_KEY go together",
        ),
        ({"temporal_api_key": ""}, "temporal_api_key"),
    ],
)
def test_half_of_what_tls_needs_is_refused_at_start(given: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        settings("temporal.internal:7233", **given)


async def test_a_namespace_that_temporal_does_not_have_is_named(
    temporal_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API listened for a moment, and ended with a traceback of its worker's."""
    monkeypatch.setattr(temporal, "CONNECT_RETRIES", 1)
    monkeypatch.setattr(temporal, "CONNECT_RETRY_S", 0)
    await connect(settings(temporal_server))
    with pytest.raises(SettingsWrong, match=r"^PAYONCE_TEMPORAL_NAMESPACE: .* 'nowhere'$"):
        await connect(settings(temporal_server, temporal_namespace="nowhere"))


async def test_a_file_that_is_no_pem_is_named_at_once() -> None:
    for_files = {
        "temporal_tls_ca": "PAYONCE_TEMPORAL_TLS_CA",
        "temporal_tls_cert": "PAYONCE_TEMPORAL_TLS_CERT",
    }
    for field, variable in for_files.items():
        given = {field: __file__} | ({"temporal_tls_key": __file__} if field == "temporal_tls_cert" else {})
        with pytest.raises(SettingsWrong, match=f"^{variable}: the file is no PEM$"):
            await connect(settings("127.0.0.1:1", **given))
