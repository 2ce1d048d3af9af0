"""What a create says of strong customer authentication: admitted as it was given, or refused with a pointer."""

from typing import Any

import httpx
import pytest

from payonce.domain.sca import HandedIn, Sca
from tests.api.fakes import AUTHENTICATION, FakeAdmission, payment_body

CREATE = "/v1/payments"
KEY = {"Idempotency-Key": "k"}
UPI_QR = {"type": "upi", "upi": {"flow": "qr"}}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"sca": {"challenge": "never"}}, "/sca/challenge"),
        ({"sca": {"exemption": "recurring"}}, "/sca/exemption"),
        ({"sca": {"channel": "moto"}}, "/sca/channel"),
        ({"sca": {}, "authentication": AUTHENTICATION}, "/authentication"),
        ({"sca": {}, "payment_method": UPI_QR}, "/sca"),
        ({"setup": "on_session", "payment_method": UPI_QR}, "/setup"),
        ({"setup": "always"}, "/setup"),
        ({"setup": "off_session", "sca": {"exemption": "low_value"}}, "/sca/exemption"),
        ({"authentication": AUTHENTICATION, "payment_method": UPI_QR}, "/authentication"),
        ({"authentication": {**AUTHENTICATION, "version": "1.0.2"}}, "/authentication/version"),
        ({"authentication": {**AUTHENTICATION, "version": "2"}}, "/authentication/version"),
        ({"authentication": {**AUTHENTICATION, "trans_status": "N"}}, "/authentication/trans_status"),
        ({"authentication": {**AUTHENTICATION, "trans_status": "R"}}, "/authentication/trans_status"),
        ({"authentication": {**AUTHENTICATION, "trans_status": "C"}}, "/authentication/trans_status"),
        ({"authentication": {**AUTHENTICATION, "eci": "5"}}, "/authentication/eci"),
        ({"authentication": {**AUTHENTICATION, "eci": "٠٥"}}, "/authentication/eci"),
        (
            {"authentication": {**AUTHENTICATION, "cavv": "3q2-78r-ur7erb7vyv66vv____8="}},
            "/authentication/cavv",
        ),
        (
            {"authentication": {**AUTHENTICATION, "cavv": "3q2+78r+ur7erb7vyv66vv////9="}},
            "/authentication/cavv",
        ),
        ({"authentication": {**AUTHENTICATION, "cavv": "3q2+78r+ur7erb7vyv66vv//"}}, "/authentication/cavv"),
        (
            {"authentication": {**AUTHENTICATION, "ds_transaction_id": "f25084f0"}},
            "/authentication/ds_transaction_id",
        ),
        ({"authentication": {**AUTHENTICATION, "more": 1}}, "/authentication/more"),
        (
            {
                "authentication": {
                    "version": "2.2.0",
                    "trans_status": "Y",
                    "eci": "05",
                    "cavv": AUTHENTICATION["cavv"],
                }
            },
            "/authentication/ds_transaction_id",
        ),
        ({"off_session": True}, "/off_session"),
    ],
)
async def test_a_mistake_in_it_has_a_pointer_and_never_shows_the_cryptogram(
    client: httpx.AsyncClient, changes: dict[str, Any], pointer: str
) -> None:
    response = await client.post(CREATE, json=payment_body(**changes), headers=KEY)
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert AUTHENTICATION["cavv"] not in response.text


async def test_what_is_asked_of_authentication_is_admitted(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    asked = {"challenge": "avoid", "exemption": "transaction_risk_analysis"}
    await client.post(CREATE, json=payment_body(sca=asked), headers=KEY)
    assert admission.last[2].sca == Sca(challenge="avoid", exemption="transaction_risk_analysis")
    headers = {"Idempotency-Key": "another"}
    await client.post(CREATE, json=payment_body(authentication=AUTHENTICATION), headers=headers)
    new = admission.last[2]
    assert (new.sca, new.authentication) == (None, HandedIn(**AUTHENTICATION))
    assert AUTHENTICATION["cavv"] not in repr(admission.last)
