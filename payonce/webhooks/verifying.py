"""Whether a request is what it says, and if not, why. Source: Standard Webhooks 1.0.0.

For people who look into a request that was saved. A receiver uses a library and tells the sender nothing.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from payonce.webhooks.signing import PUBLIC_KEY_PREFIX, SECRET_PREFIX

TOLERANCE_S: Final = 300.0
SIGNATURES_MAX: Final = 50
_REQUIRED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

Fits = Callable[[bytes, bytes], bool]  # signature, what was signed


class InvalidKey(Exception):
    """What was given to verify with is neither a secret nor a public key; the message says why."""


def fault_of(
    headers: Mapping[str, str], body: bytes, *, key: str, now: datetime, tolerance_s: float = TOLERANCE_S
) -> str | None:
    """Why the request is not valid; None: it is. Raises `InvalidKey`. `key`: `whsec_…` or `whpk_…`."""
    version, fits = _reader_of(key)
    given = {name.lower(): value.strip() for name, value in headers.items()}
    if missing := [name for name in _REQUIRED if not given.get(name)]:
        return f"there is no header {' and no '.join(missing)}"
    return _signature_fault(given, body, version=version, fits=fits) or _time_fault(
        given["webhook-timestamp"], now=now, tolerance_s=tolerance_s
    )


def _signature_fault(given: Mapping[str, str], body: bytes, *, version: str, fits: Fits) -> str | None:
    signed = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode()
    found = [part.partition(",") for part in given["webhook-signature"].split(" ")[:SIGNATURES_MAX]]
    ours = [text for name, _, text in found if name == version]
    if not ours:
        return f"webhook-signature has no {version} signature, which this key would be for"
    signatures = [signature for signature in map(_decoded, ours) if signature is not None]
    if not signatures:
        return "the signature is not base64"
    if any(fits(signature, signed + body) for signature in signatures):
        return None
    if body.endswith(b"\n") and any(
        fits(signature, signed + body.rstrip(b"\r\n")) for signature in signatures
    ):
        return "the body ends with a line break that was not signed: an editor or a shell has added it"
    return "the signature is wrong: another secret, or the body or a header was changed"


def _time_fault(timestamp: str, *, now: datetime, tolerance_s: float) -> str | None:
    if not timestamp.isascii() or not timestamp.isdigit():
        return "webhook-timestamp is not a number of seconds"
    age_s = now.astimezone(UTC).timestamp() - float(timestamp[:12])
    if age_s > tolerance_s:
        return f"the signature is right, but {age_s:.0f} s old: more than {tolerance_s:g} s"
    if age_s < -tolerance_s:
        return f"the signature is right, but {-age_s:.0f} s in the future: more than {tolerance_s:g} s"
    return None


def _reader_of(key: str) -> tuple[str, Fits]:
    """The version of the signatures that the key is for, and its test. Raises `InvalidKey`."""
    for prefix, version, reader in (
        (SECRET_PREFIX, "v1", _hmac_reader),
        (PUBLIC_KEY_PREFIX, "v1a", _ed25519_reader),
    ):
        if key.startswith(prefix):
            raw = _decoded(key.removeprefix(prefix))
            if not raw:
                raise InvalidKey(f"what follows {prefix} is not base64")
            return version, reader(raw)
    raise InvalidKey(f"a secret begins with {SECRET_PREFIX}, a public key with {PUBLIC_KEY_PREFIX}")


def _hmac_reader(secret: bytes) -> Fits:
    def fits(signature: bytes, signed: bytes) -> bool:
        return hmac.compare_digest(signature, hmac.new(secret, signed, hashlib.sha256).digest())

    return fits


def _ed25519_reader(raw: bytes) -> Fits:
    try:
        public_key = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise InvalidKey(f"a public key has 32 bytes, and this has {len(raw)}") from None

    def fits(signature: bytes, signed: bytes) -> bool:
        try:
            public_key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return fits


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except ValueError:
        return None
