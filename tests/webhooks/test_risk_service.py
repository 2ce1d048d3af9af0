"""A merchant's own risk service: signed, bounded, never at an internal address, and left alone where it fails."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from payonce.connectors.breaker import BREAKER_FAILURES
from payonce.counted import RECEIVED_BYTES_MAX
from payonce.domain.risk import Assessment, Policy, RiskVerdict
from payonce.metrics import RISK_ANSWERED, RISK_UNANSWERED
from payonce.risk.asking import Assessor
from payonce.risk.base import NotAsked, NoVerdict, RiskProvider, RiskView
from payonce.risk.conformance import RiskConformance
from payonce.risk.sandbox import SandboxRisk
from payonce.sealing import Sealer, SealingKey
from payonce.webhooks.addresses import ForbiddenAddress
from payonce.webhooks.risk import HttpRisk, make_options, sealed_again
from payonce.webhooks.risk_exchanges import OF_ALL_MAX, OF_ONE_MAX, Exchanges
from tests.support.eventually import eventually
from tests.support.tls import LOOPBACK, Authority

SEALER = Sealer([SealingKey("k", b"k" * 32)])
VIEW = RiskView(
    payment_id="pay_1",
    merchant_id="mer_1",
    mode="test",
    amount_minor=1_099,
    currency="INR",
    method="card",
    brand="visa",
    first6="424242",
    last4="4242",
)


@dataclass
class Service:
    """Answers on loopback as it is told to, and keeps what it was asked."""

    answer: Any = None  # None: allows
    status: int = 200
    hangs: bool = False
    holds: asyncio.Event = field(default_factory=asyncio.Event)  # its answers until it is set
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    padding: int = 0  # bytes in the head of each answer

    def __post_init__(self) -> None:
        self.holds.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while asked := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.split(": ", 1) for line in asked.decode().split("\r\n")[1:-2])
                headers = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                self.asked.append((headers, body))
                if self.hangs:
                    await reader.read()  # until it is given up
                    return
                await self.holds.wait()
                said = {"payment": json.loads(body)["payment"], "verdict": "allow"}
                answer = json.dumps(said if self.answer is None else self.answer).encode()
                head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n" % (self.status, len(answer))
                writer.write(head + b"X: %s\r\n\r\n" % (b"x" * self.padding) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def provider() -> AsyncIterator[HttpRisk]:
    made = HttpRisk(SEALER, allow_loopback=True)
    yield made
    await made.close()


@pytest.fixture
def secret_and_options(service: Service) -> tuple[str, dict[str, str]]:
    url = f"http://127.0.0.1:{service.port}/risk"
    options, secret = make_options(SEALER, merchant_id="mer_1", mode="test", url=url)
    return secret, options


async def test_the_request_is_signed_and_names_the_payment_and_no_number(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    secret, options = secret_and_options
    said = await provider.ask(VIEW, options)
    assert (said.verdict, said.provider) == (RiskVerdict.ALLOW, "http")
    ((headers, body),) = service.asked
    Webhook(secret).verify(body, headers)
    assert headers["webhook-id"] == "pay_1"
    assert json.loads(body)["card"] == {"brand": "visa", "first6": "424242", "last4": "4242", "country": None}
    assert secret not in str(options)
    await provider.ask(VIEW, options)
    assert service.connections == 1  # kept


@pytest.mark.parametrize(
    "answer",
    [
        {"payment": "pay_2", "verdict": "allow"},
        {"payment": "pay_1", "verdict": "perhaps"},
        {"verdict": "allow"},
        {"payment": "pay_1", "verdict": "block", "reasons": "x"},
        {"payment": "pay_1", "verdict": "block", "reasons": ["x" * 5_000]},
        [],
    ],
)
async def test_what_is_no_verdict_on_this_payment_is_no_answer(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]], answer: Any
) -> None:
    service.answer = answer
    with pytest.raises(NoVerdict):
        await provider.ask(VIEW, secret_and_options[1])


async def test_an_error_of_the_service_is_no_answer(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    service.status = 500
    with pytest.raises(NoVerdict):
        await provider.ask(VIEW, secret_and_options[1])


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254"])
async def test_a_name_that_resolves_to_an_internal_address_is_not_dialled(address: str) -> None:
    async def look_up(_host: str, _port: int) -> Any:
        return [ip_address(address)]

    provider = HttpRisk(SEALER, allow_loopback=False, look_up=look_up)
    options, _ = make_options(SEALER, merchant_id="mer_1", mode="test", url="https://risk.example/")
    with pytest.raises(ForbiddenAddress):
        await provider.ask(VIEW, options)
    await provider.close()


async def test_a_service_that_fails_again_and_again_is_left_alone_and_others_are_not(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    service.status = 500
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(NoVerdict):
            await provider.ask(VIEW, secret_and_options[1])
    service.status = 200
    with pytest.raises(NotAsked, match="left_alone"):
        await provider.ask(VIEW, secret_and_options[1])
    assert len(service.asked) == BREAKER_FAILURES
    url = secret_and_options[1]["url"]
    options, _ = make_options(SEALER, merchant_id="mer_2", mode="test", url=url)
    other = RiskView(**{**_members(VIEW), "merchant_id": "mer_2"})
    assert (await provider.ask(other, options)).verdict is RiskVerdict.ALLOW


async def test_a_service_that_hangs_holds_so_many_exchanges_and_no_more(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    service.hangs = True
    policy = Policy(providers=("http",), options={"http": secret_and_options[1]})
    assessor = Assessor({"http": provider}, within_s=0.01)
    for _ in range(OF_ONE_MAX + 5):
        said = await assessor.ask(VIEW, policy)
        assert said is not None
        assert said.reasons == ("no_answer",)
    assert len(provider._exchanges) <= OF_ONE_MAX


async def test_services_that_hang_take_no_place_of_anothers_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch,
    provider: HttpRisk,
    service: Service,
    secret_and_options: tuple[str, dict[str, str]],
) -> None:
    """Each of so many merchants has as many exchanges open as it may: together more than there are places."""
    monkeypatch.setattr("payonce.webhooks.risk.EXCHANGE_WITHIN_S", 600)
    hanging = Service(hangs=True)
    server = await asyncio.start_server(hanging.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    assessor = Assessor({"http": provider}, within_s=60.0)
    hasty = Assessor({"http": provider}, within_s=0.001)
    for number in range(OF_ALL_MAX // OF_ONE_MAX + 3):
        merchant = f"mer_hangs_{number}"
        options, _ = make_options(SEALER, merchant_id=merchant, mode="test", url=url)
        policy = Policy(providers=("http",), options={"http": options})
        view = RiskView(**{**_members(VIEW), "merchant_id": merchant})
        await asyncio.gather(*(hasty.ask(view, policy) for _ in range(OF_ONE_MAX)))
        assert len(provider._exchanges) <= OF_ALL_MAX
    policy = Policy(providers=("http",), options={"http": secret_and_options[1]})
    for _ in range(3):
        said = await assessor.ask(VIEW, policy)
        assert said == Assessment(verdict=RiskVerdict.ALLOW, provider="http")
    assert len(service.asked) == 3
    server.close()


async def test_where_all_are_waited_for_one_more_is_not_begun_and_that_is_said_at_once() -> None:
    exchanges, answers = Exchanges(of_one_max=3, of_all_max=4), asyncio.Event()
    in_time: list[bool] = []

    async def answer() -> Assessment:
        await answers.wait()
        return Assessment(verdict=RiskVerdict.ALLOW)

    def begin(merchant: str) -> asyncio.Task[Assessment]:
        exchanges.check((merchant, "test"))
        return asyncio.create_task(exchanges.made((merchant, "test"), answer(), in_time.append))

    first = [begin("mer_1") for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(NotAsked):
        begin("mer_1")
    second = begin("mer_2")
    await asyncio.sleep(0)
    with pytest.raises(NotAsked):
        begin("mer_3")
    first[0].cancel()  # late from now on
    await asyncio.wait([first[0]])
    third = begin("mer_3")  # whose place it has
    answers.set()
    for task in (*first[1:], second, third):
        assert (await task).verdict is RiskVerdict.ALLOW
    assert sorted(in_time) == [False, True, True, True, True]
    assert not len(exchanges)


async def test_a_late_exchange_warms_the_connection_for_the_next(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    """A service that is far away: its first answer is late, the next needs no new connection."""
    service.holds.clear()
    policy = Policy(providers=("http",), options={"http": secret_and_options[1]})
    said = await Assessor({"http": provider}, within_s=0.05).ask(VIEW, policy)
    assert said is not None
    assert said.reasons == ("no_answer",)
    service.holds.set()

    async def over() -> bool:
        return not len(provider._exchanges)

    await eventually(over)
    said = await Assessor({"http": provider}, within_s=60.0).ask(VIEW, policy)
    assert said == Assessment(verdict=RiskVerdict.ALLOW, provider="http")
    assert service.connections == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_comes_in_is_bounded_for_each_answer_and_not_for_a_connection_s_life(
    tmp_path: Path, scheme: str
) -> None:
    authority, service = Authority(tmp_path, "authority"), Service(padding=20 * 1024)
    signed = authority.sign(LOOPBACK)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(signed.certificate, signed.key)
    provider = HttpRisk(
        SEALER, allow_loopback=True, tls=ssl.create_default_context(cafile=str(authority.certificate))
    )
    context = tls if scheme == "https" else None
    async with await asyncio.start_server(service.serve, LOOPBACK, 0, ssl=context) as server:
        url = f"{scheme}://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/risk"
        options, _ = make_options(SEALER, merchant_id="mer_1", mode="test", url=url)
        for _ in range(12):
            assert (await provider.ask(VIEW, options)).verdict is RiskVerdict.ALLOW
        assert service.connections == 1
        service.padding = RECEIVED_BYTES_MAX
        with pytest.raises(NoVerdict, match="TooMuchReceived"):
            await provider.ask(VIEW, options)
        await provider.close()


async def test_who_did_not_answer_and_why_is_counted(
    provider: HttpRisk, service: Service, secret_and_options: tuple[str, dict[str, str]]
) -> None:
    def counted() -> dict[str, float]:
        why = ("late", "failed", "left_alone", "busy")
        said = {reason: RISK_UNANSWERED.labels("http", reason)._value.get() for reason in why}
        return {**said, "answered": RISK_ANSWERED.labels("http")._value.get()}

    before = counted()
    policy = Policy(providers=("http",), options={"http": secret_and_options[1]})
    assessor = Assessor({"http": provider}, within_s=60.0)
    await assessor.ask(VIEW, policy)
    service.status = 500
    for _ in range(BREAKER_FAILURES + 2):
        await assessor.ask(VIEW, policy)
    more = {name: value - before[name] for name, value in counted().items()}
    assert more == {"late": 0, "failed": BREAKER_FAILURES, "left_alone": 2, "busy": 0, "answered": 1}


def test_a_secret_is_sealed_again_with_the_first_key() -> None:
    options, _ = make_options(SEALER, merchant_id="mer_1", mode="test", url="https://risk.example/")
    newer = Sealer([SealingKey("n", b"n" * 32), SealingKey("k", b"k" * 32)])
    again = sealed_again(newer, "mer_1", "test", options)
    assert (again["key_id"], again["url"]) == ("n", options["url"])


class TestHttpConforms(RiskConformance):
    """Against a service on loopback."""

    @pytest.fixture
    def options(self, service: Service) -> Mapping[str, Any]:
        url = f"http://127.0.0.1:{service.port}/"
        return make_options(SEALER, merchant_id="mer_conformance", mode="test", url=url)[0]


class TestSandboxConforms(RiskConformance):
    """Without a trigger."""

    @pytest.fixture
    def provider(self) -> RiskProvider:
        return SandboxRisk()


def _members(view: RiskView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in RiskView.__slots__}
