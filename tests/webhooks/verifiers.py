"""Whether a request is signed as Standard Webhooks says, as programs that are not ours see it."""

import base64
import json
import subprocess
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

NODE_PROGRAM = Path(__file__).with_name("verify.mjs")
NODE_S = 30


def by_reference(body: bytes, headers: dict[str, str], key: str) -> bool:
    try:
        Webhook(key).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def by_cryptography(body: bytes, headers: dict[str, str], key: str) -> bool:
    """Ed25519 by itself, over what the specification says is signed."""
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_"), validate=True))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        version, _, signature = each.partition(",")
        try:
            if version == "v1a":
                verifier.verify(base64.b64decode(signature, validate=True), content)
                return True
        except InvalidSignature:
            continue
    return False


def by_node(body: bytes, headers: dict[str, str], key: str) -> bool:
    request = {"headers": headers, "body": base64.b64encode(body).decode(), "key": key}
    done = subprocess.run(
        ["node", str(NODE_PROGRAM)], input=json.dumps(request).encode(), timeout=NODE_S, check=False
    )
    return done.returncode == 0
