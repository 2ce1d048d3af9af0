"""A payment's QR code as an image, for whoever knows the payment's id: a customer's browser has no API key."""

import io

import segno
from starlette.requests import Request
from starlette.responses import Response

from api.front import READ_S, path_id
from api.replies import NO_STORE
from payonce.domain.errors import NotFound
from payonce.domain.payment import Payment
from payonce.runtime import Runtime
from payonce.storage.database import within
from payonce.storage.payments import get_payment

SVG, PNG = "image/svg+xml", "image/png"
PIXELS_PER_MODULE = 8
QUIET_ZONE = 4  # modules around the code, which scanners need (ISO/IEC 18004 §9.1)
_HEADERS = {
    **NO_STORE,
    "Vary": "Accept",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Codes:
    """The handler of `/v1/payments/{id}/qr`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def show(self, request: Request) -> Response:
        """The code while the customer is to act; afterwards there is none."""
        payment = await within(READ_S, self._read(path_id(request)))
        action = payment.next_action if payment is not None else None
        if action is None or "image_url" not in action:
            raise NotFound
        media_type = PNG if _prefers_png(request.headers.get("accept", "")) else SVG
        return Response(_image(str(action["url"]), media_type), media_type=media_type, headers=_HEADERS)

    async def _read(self, payment_id: str) -> Payment | None:
        async with self._runtime.database.browsing() as connection:
            return await get_payment(connection, payment_id)


def _prefers_png(accept: str) -> bool:
    """PNG where it is asked for by name and SVG is not asked for before it."""
    named = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    return PNG in named and (SVG not in named or named.index(PNG) < named.index(SVG))


def _image(text: str, media_type: str) -> bytes:
    drawn = io.BytesIO()
    code = segno.make_qr(text, error="m")
    if media_type == PNG:
        code.save(drawn, kind="png", scale=PIXELS_PER_MODULE, border=QUIET_ZONE, light="white")
    else:
        code.save(drawn, kind="svg", border=QUIET_ZONE, light="white", omitsize=True)  # as large as its frame
    return drawn.getvalue()
