"""Whether a certificate is for a host whose first label has a `_`, which OpenSSL's own check does not find out.

Authorities may name no such host in a certificate (CA/Browser Forum, ballot SC12), so a receiver that has one shows a
wildcard's; and OpenSSL lets a wildcard stand for letters, digits and hyphens only (`wildcard_match` in its
`crypto/x509/v3_utl.c`). So the name is compared here, and all the rest by OpenSSL as always.
"""

from collections.abc import Mapping
from typing import Any


def openssl_compares(host: str) -> bool:
    """Whether OpenSSL's check of the name does."""
    return "_" not in host.partition(".")[0]


def is_for(certificate: Mapping[str, Any], host: str) -> bool:
    """Whether the certificate, as `SSLSocket.getpeercert` shows a verified one, is for the lower-case host.

    A wildcard is a first label, stands for exactly one, and never for one below a top-level domain (RFC 9525 §6.3).
    """
    names = {name.lower() for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"}
    parent = host.partition(".")[2]
    return host in names or ("." in parent and f"*.{parent}" in names)
