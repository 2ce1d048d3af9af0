"""What a browser may do with a receipt: show it, with its own style and the picture in it, and nothing else."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_STYLE: Final = Path(__file__).parent / "receipt.css"


def policy_of(style: str) -> str:
    """As the page itself says it: `sandbox` and `frame-ancestors` count in a header only (CSP 3 §3.3)."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def headers() -> dict[str, str]:
    """Of a receipt that is served by us, HTML or PDF."""
    return {
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": f"{policy_of(_STYLE.read_text())}; frame-ancestors 'none'; sandbox",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


MEDIA_TYPES: Final = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


def kept_with(form: str) -> dict[str, str]:
    """What the object store gives it with."""
    return {
        "Content-Type": MEDIA_TYPES[form],
        "Content-Disposition": f'inline; filename="receipt.{form}"',
        "Cache-Control": "private, no-store",
    }
