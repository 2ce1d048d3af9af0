"""A card goes in, a webhook secret goes out once; nothing else that is answered or logged shows them."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog

from payonce.logging import configure
from tests.api.fakes import FakeAdmission, card_method, payment_body
from tests.support import logs

NUMBER, CVC = "4000056655665556", "918"
CREATE = "/v1/payments"


class Log:
    """All that was written to standard error since the beginning."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """Everything that this process logs, as in production but at the level of debugging."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure(level="debug", process="test")
    structlog.configure(cache_logger_on_first_use=False)  # or the modules' loggers would be so for every test
    yield Log(capsys)
    logs.to_standard_error()
    root.handlers[:], root.level = before


async def test_a_card_shows_in_no_answer_and_no_log(
    client: httpx.AsyncClient, admission: FakeAdmission, logged: Log
) -> None:
    card = card_method(number=NUMBER, cvc=CVC)
    bodies = [
        payment_body(payment_method=card),
        payment_body(payment_method=card, amount="wrong"),
        payment_body(payment_method={**card, "number": NUMBER}),
        payment_body(payment_method={"type": NUMBER}),
        payment_body(payment_method=card, description=NUMBER),
        payment_body(payment_method=card, **{NUMBER: NUMBER}),
        {"number": NUMBER, "cvc": CVC},
    ]
    answers = [
        await client.post(CREATE, json=body, headers={"Idempotency-Key": f"k-{number}"})
        for number, body in enumerate(bodies)
    ]
    admission.error = RuntimeError(f"a library quotes {NUMBER} and {CVC}")
    answers.append(await client.post(CREATE, json=bodies[0], headers={"Idempotency-Key": "failing"}))
    raw = json.dumps(bodies[0]).encode()[:-1]
    headers = {"Idempotency-Key": "broken", "Content-Type": "application/json"}
    answers.append(await client.post(CREATE, content=raw, headers=headers))
    answers.append(await client.post(CREATE, json=bodies[0], headers={"Idempotency-Key": NUMBER}))
    assert [answer.status_code for answer in answers] == [201, 400, 400, 400, 400, 400, 400, 500, 400, 400]
    shown = "".join(answer.text + str(answer.headers) for answer in answers)
    log = logged.getvalue()
    assert "request_failed" in log
    for secret in (NUMBER, NUMBER[4:12], NUMBER[:10], f'"{CVC}"', f" {CVC}"):
        assert secret not in shown
        assert secret not in log


async def test_an_admitted_card_hides_its_number(client: httpx.AsyncClient, admission: FakeAdmission) -> None:
    body = payment_body(payment_method=card_method(number=NUMBER, cvc=CVC))
    await client.post(CREATE, json=body, headers={"Idempotency-Key": "k"})
    assert NUMBER not in repr(admission.last)
    assert CVC not in repr(admission.last)


@pytest.mark.parametrize("signing", ["hmac", "ed25519"])
async def test_a_webhook_secret_shows_in_no_log(client: httpx.AsyncClient, logged: Log, signing: str) -> None:
    body = {"url": "https://93.184.215.14/", "signing": signing}
    headers = {"Idempotency-Key": f"endpoint-{signing}"}
    created = await client.post("/v1/webhook_endpoints", json=body, headers=headers)
    path = created.headers["location"]
    answers = [created, await client.post(f"{path}/rotate_secret"), await client.post(f"{path}/ping")]
    assert [answer.status_code for answer in answers] == [201, 200, 202]
    later = [await client.get(path), await client.get("/v1/webhook_endpoints"), answers[-1]]
    assert "rate_lease_failed" in logged.getvalue()  # the log is the one that is looked at
    for shown in ("whsec_", "whsk_"):
        assert shown not in logged.getvalue()
        assert not any(shown in answer.text for answer in later)
