"""TLS for tests: authorities and certificates made on the spot, and a proxy that ends TLS in front of a server."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hpack import Decoder

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65_536
# Source: RFC 9113 §3.4, §4.1 and §6.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES = 9
HEADERS, CONTINUATION = 1, 9
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
PRIORITY_BYTES = 5

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates that are good for an hour; its own is `certificate`, in PEM."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        limits = x509.BasicConstraints(ca=True, path_length=0)
        signed = (
            self._unsigned(self._name, self._key)
            .add_extension(limits, critical=True)
            .add_extension(_usage(signs=True), critical=True)
        )
        self.certificate = self._write(name, signed.sign(self._key, hashes.SHA256()))

    def sign(self, name: str) -> Certificate:
        """Files with a new certificate for the host name or address, of a server or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        unsigned = (
            self._unsigned(subject, key)
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_usage(signs=False), critical=True)
        )
        certificate = self._write(name, unsigned.sign(self._key, hashes.SHA256()))
        key_path = certificate.with_suffix(".key")
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Certificate(certificate, key_path)

    def _unsigned(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        """With what strict verification asks of each, which is Python's default from 3.13 on (RFC 5280 §4.2.1)."""
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _usage(*, signs: bool) -> x509.KeyUsage:
    """To sign certificates, or to speak TLS."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class Front:
    """A proxy that ends TLS: where it listens, and the headers of each request that came through."""

    address: str
    requests: list[dict[str, str]] = field(default_factory=list)


@asynccontextmanager
async def tls_in_front_of(
    backend: str, server: Certificate, *, clients: Authority | None = None
) -> AsyncIterator[Front]:
    """HTTP/2 over TLS is passed to the plain `backend`; with `clients`, only from whom that authority signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.certificate, server.key)
    context.set_alpn_protocols(["h2"])
    if clients is not None:
        context.load_verify_locations(clients.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    host, _, port = backend.rpartition(":")
    connections: set[asyncio.Task[None]] = set()
    front = Front("")

    async def serve(*client: *Pipe) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        with suppress(OSError, asyncio.CancelledError):
            behind = await asyncio.open_connection(host, int(port))
            seen = _Requests(front.requests)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(client[0], behind[1], seen))
                group.create_task(_pass_on(behind[0], client[1], None))

    async with await asyncio.start_server(serve, LOOPBACK, 0, ssl=context) as listener:
        front.address = f"{LOOPBACK}:{listener.sockets[0].getsockname()[1]}"
        try:
            yield front
        finally:
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


async def _pass_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: "_Requests | None"
) -> None:
    try:
        while chunk := await source.read(CHUNK_BYTES):
            if seen is not None:
                seen.feed(chunk)
            target.write(chunk)
            await target.drain()
    finally:
        target.close()


class _Requests:
    """Reads the heads of requests out of a client's side of an HTTP/2 connection."""

    def __init__(self, found: list[dict[str, str]]) -> None:
        self._found = found
        self._decoder = Decoder()
        self._waiting = bytearray()
        self._head = bytearray()
        self._begun = False

    def feed(self, chunk: bytes) -> None:
        self._waiting += chunk
        if not self._begun and len(self._waiting) >= len(PREFACE):
            assert self._waiting.startswith(PREFACE)
            del self._waiting[: len(PREFACE)]
            self._begun = True
        while self._begun and len(self._waiting) >= FRAME_HEAD_BYTES:
            length = int.from_bytes(self._waiting[:3], "big")
            if len(self._waiting) < FRAME_HEAD_BYTES + length:
                return
            kind, flags = self._waiting[3], self._waiting[4]
            payload = bytes(self._waiting[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + length])
            del self._waiting[: FRAME_HEAD_BYTES + length]
            if kind in (HEADERS, CONTINUATION):
                self._head_of(payload if kind == CONTINUATION else _fragment(payload, flags), flags)

    def _head_of(self, fragment: bytes, flags: int) -> None:
        self._head += fragment
        if flags & END_HEADERS:
            self._found.append(
                {_text(name): _text(value) for name, value in self._decoder.decode(self._head)}
            )
            self._head.clear()


def _fragment(payload: bytes, flags: int) -> bytes:
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    return payload[start + (PRIORITY_BYTES if flags & PRIORITY else 0) : end]


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
