"""One attempt at a receiver of the test's."""

import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.secrets import seal_secret
from payonce.webhooks.addresses import IPAddress, LookUp
from payonce.webhooks.attempt import Acknowledged, Failed, Sender
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.signing import new_secret
from tests.webhooks.receiver import (
    Answer,
    receiving,
)
from tests.webhooks.shop import SEALER

SECRETS = SigningSecrets(SEALER)
SENDER = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=10)
SECRET = new_secret()
IMPATIENT = replace(SENDER, deadline_s=0.3)
HURRIED = replace(SENDER, deadline_s=1.0)  # for what comes at once, and the end that never does


def lease_for(url: str, *, attempts: int = 0) -> Lease:
    return Lease(
        delivery_id="dlv_1",
        token="lease_1",
        event_id="evt_1",
        event_type="payment.captured",
        event_at=datetime.now(UTC),
        payment_id="pay_1",
        merchant_id="mer_1",
        body='{"type":"payment.captured","data":{"note":"₹"}}'.encode(),
        attempts=attempts,
        endpoint_id="we_1",
        mode="test",
        url=url,
        secrets=(seal_secret(SEALER, SECRET, endpoint_id="we_1", algorithm="hmac", at=datetime.now(UTC)),),
    )


async def attempt_at(answer: Answer, *, sender: Sender = SENDER) -> Acknowledged | Failed:
    async with receiving(otherwise=answer) as receiver:
        return (await sender.attempt(lease_for(receiver.url))).result


def answers(*each: list[str]) -> LookUp:
    """Gives each answer once."""
    left = [[ip_address(address) for address in answer] for answer in each]

    async def look_up(_host: str, _port: int) -> Sequence[IPAddress]:
        return left.pop(0)

    return look_up


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def certificate_for(directory: Path, name: str) -> Path:
    """A self-signed certificate for the name, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path
