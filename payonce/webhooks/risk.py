"""A merchant's own risk service, asked over HTTP: signed as webhooks are, and never at an internal address.

The request names the payment, also as `webhook-id`, so that a service can answer the same for the same payment. An
answer is taken within the time that all providers have; one that comes later only keeps the connection warm, on which
a service that is far away needs one round trip. After many failures in a row a service is left alone for a while.
"""

import asyncio
import base64
import json
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import httpcore

from payonce.connectors.breaker import CircuitBreaker
from payonce.connectors.connections import trusting
from payonce.domain.answers import encode
from payonce.domain.risk import Assessment, RiskVerdict
from payonce.risk.base import NotAsked, NoVerdict, RiskView
from payonce.sealing import Sealed, Sealer
from payonce.webhooks.addresses import LookUp, look_up, parse_url
from payonce.webhooks.risk_connections import ServiceConnections
from payonce.webhooks.risk_exchanges import Exchanges, Whose
from payonce.webhooks.signing import new_secret, signed_headers

NAME: Final = "http"
EXCHANGE_WITHIN_S: Final = 2.0  # then the connection is closed
MERCHANTS_MAX: Final = 10_000  # whose breakers are remembered
ANSWER_BYTES_MAX: Final = 4 * 1024


def about(merchant_id: str, mode: str) -> tuple[str, ...]:
    """What a service's sealed secret is bound to."""
    return ("risk_service", merchant_id, mode)


def make_options(sealer: Sealer, *, merchant_id: str, mode: str, url: str) -> tuple[dict[str, str], str]:
    """What is stored of a service, and its secret, which is shown this once."""
    plain = new_secret()
    sealed = sealer.seal(plain, about=about(merchant_id, mode))
    data = base64.b64encode(sealed.data).decode()
    return {"url": url, "key_id": sealed.key_id, "sealed": data}, plain


def sealed_again(sealer: Sealer, merchant_id: str, mode: str, options: Mapping[str, str]) -> dict[str, str]:
    """The same service, its secret sealed with the first key. Raises `CannotUnseal`."""
    bound = about(merchant_id, mode)
    sealed = sealer.seal(sealer.unseal(_sealed(options), about=bound), about=bound)
    return {**options, "key_id": sealed.key_id, "sealed": base64.b64encode(sealed.data).decode()}


def _sealed(options: Mapping[str, str]) -> Sealed:
    return Sealed(options["key_id"], base64.b64decode(options["sealed"]))


@dataclass
class HttpRisk:
    """Asks whichever service the merchant's options name. One per process."""

    sealer: Sealer
    allow_loopback: bool
    look_up: LookUp = look_up
    tls: ssl.SSLContext = field(default_factory=trusting, repr=False)

    name = NAME

    def __post_init__(self) -> None:
        self._connections = ServiceConnections(self.tls, self.look_up)
        self._breakers: OrderedDict[Whose, CircuitBreaker] = OrderedDict()
        self._exchanges = Exchanges()

    async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        """Raises `NoVerdict` for a service that is left alone, fails, or says nothing about this payment."""
        whose = (view.merchant_id, view.mode)
        breaker = self._breaker(whose)
        self._exchanges.check(whose)
        if not breaker.admits():
            raise NotAsked("left_alone")

        def ended(in_time: bool) -> None:
            breaker.succeeded() if in_time else breaker.failed()

        return await self._exchanges.made(whose, self._exchange(view, options), ended)

    async def close(self) -> None:
        await self._exchanges.close()
        await self._connections.close()

    def _breaker(self, whose: Whose) -> CircuitBreaker:
        """The merchant's own: another's failures do not count."""
        breaker = self._breakers.pop(whose, None) or CircuitBreaker()
        self._breakers[whose] = breaker
        if len(self._breakers) > MERCHANTS_MAX:
            self._breakers.popitem(last=False)
        return breaker

    async def _exchange(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        try:
            async with asyncio.timeout(EXCHANGE_WITHIN_S):
                return _read(view, await self._answer(view, options))
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise NoVerdict(type(error).__name__) from error
        except (OSError, TimeoutError, KeyError, ValueError) as error:
            raise NoVerdict(type(error).__name__) from error

    async def _answer(self, view: RiskView, options: Mapping[str, Any]) -> bytes:
        target = parse_url(options["url"], mode=view.mode, allow_loopback=self.allow_loopback)
        body, secret = encode(_told(view)), self._secret(view, options)
        signed = signed_headers(
            event_id=view.payment_id, at=datetime.now(UTC), body=body, signing_secrets=[secret]
        )
        headers = {"Host": target.host_header, "Content-Type": "application/json", **signed}
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        async with (
            self._connections.to(target, (view.merchant_id, view.mode)) as pool,
            pool.stream("POST", url, headers=[*headers.items()], content=body) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise NoVerdict(f"The risk service answered {response.status}.")
            answer = b""
            async for piece in response.aiter_stream():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    raise NoVerdict("The risk service's answer is too long.")
            return answer

    def _secret(self, view: RiskView, options: Mapping[str, Any]) -> str:
        return self.sealer.unseal(_sealed(options), about=about(view.merchant_id, view.mode))


def _told(view: RiskView) -> dict[str, Any]:
    """What a service is told: of a card its first six and last four, and no hash."""
    card = {"brand": view.brand, "first6": view.first6, "last4": view.last4, "country": view.issuer_country}
    return {
        "payment": view.payment_id,
        "mode": view.mode,
        "amount": view.amount_minor,
        "currency": view.currency,
        "method": view.method,
        "channel": view.channel,
        "card": None if view.last4 is None else card,
        "customer": view.customer,
        "ip": view.ip,
        "user_agent": view.user_agent,
        "billing_country": view.billing_country,
        "shipping_country": view.shipping_country,
        "merchant_reference": view.merchant_reference,
        "metadata": view.metadata,
    }


def _read(view: RiskView, answer: bytes) -> Assessment:
    """`{"payment", "verdict", "reasons"?}`. Raises `ValueError` or `KeyError` for anything else."""
    members = json.loads(answer)
    if not isinstance(members, dict) or members["payment"] != view.payment_id:
        raise ValueError("an answer about another payment")
    reasons = members.get("reasons", [])
    if not isinstance(reasons, list):
        raise ValueError("reasons are a list")
    verdict = RiskVerdict(members["verdict"])
    return Assessment(verdict=verdict, reasons=tuple(reasons), provider=NAME)
