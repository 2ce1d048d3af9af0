"""What customers see of us who come back from an acquirer's page, where their shop has none: one sentence, in words.

Without styles, scripts, pictures and data of the payment: any browser shows it, at any width, and reads it out.
"""

from html import escape
from typing import Final

from starlette.responses import Response

from payonce.domain.payment import PaymentStatus

S = PaymentStatus
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CLOSE: Final = "You can close this page."
_PROCESSING: Final = ("Your payment is being processed", f"The shop will tell you how it ends. {_CLOSE}")
_PAID: Final = ("Your payment went through", _CLOSE)
_CANCELLED: Final = ("This payment was cancelled", f"You can go back to the shop. {_CLOSE}")
_WORDS: Final = {
    S.AUTHORIZED: _PAID,
    S.PARTIALLY_CAPTURED: _PAID,
    S.CAPTURED: _PAID,
    S.PARTIALLY_REFUNDED: _PAID,
    S.REFUNDED: ("This payment was refunded", _CLOSE),
    S.VOIDED: _CANCELLED,
    S.EXPIRED: _CANCELLED,
    S.FAILED: ("Your payment did not go through", "You can go back to the shop and try again."),
    S.INIT: _PROCESSING,
    S.REQUIRES_ACTION: _PROCESSING,
    S.PROCESSING: _PROCESSING,
}


def of_status(status: PaymentStatus) -> Response:
    """How the payment stands, in words."""
    return page(200, *_WORDS[status])


def unknown() -> Response:
    """Nobody's token."""
    return page(404, "There is nothing at this address", "Please go back to the shop.")


def ahead_of_time() -> Response:
    """To a browser that fetches what nobody has asked for yet: it drops this, and asks again when somebody does.

    Source: HTML, "prefetch": only a response with an ok status is used (web platform tests,
    `speculation-rules/prefetch/prefetch-status`).
    """
    return page(403, "This page is not fetched ahead of time", "Please open it when you need it.")


def too_large() -> Response:
    return page(413, "Your browser sent more than we take", "Please go back to the shop.")


def too_late() -> Response:
    return page(408, "Your browser did not send all that it announced", "Please reload this page.")


def too_many(*, retry_after_s: int) -> Response:
    words = ("This page was asked for too often", "Please wait a minute, and then reload it.")
    return page(429, *words, retry_after_s=retry_after_s)


def away(*, retry_after_s: int) -> Response:
    words = ("We cannot say right now how your payment stands", "Please reload this page in a minute.")
    return page(503, *words, retry_after_s=retry_after_s)


def page(status: int, title: str, text: str, *, retry_after_s: int | None = None) -> Response:
    """The page. Everything in it is escaped, whoever wrote it."""
    title, text = escape(title), escape(text)
    html = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n"
        "</body>\n</html>\n"
    )
    headers = HEADERS if retry_after_s is None else {**HEADERS, "Retry-After": str(retry_after_s)}
    return Response(html, status_code=status, media_type="text/html", headers=headers)
