"""A payment's QR code as an image, for whoever knows the payment's id: a customer's browser has no API key."""

import io
import time
from typing import Final

import segno
from starlette.requests import Request
from starlette.responses import Response

from api.front import READ_S, path_id
from api.http.lookups import MOMENT_S, Lookups, Remembered
from api.http.made import Made
from api.http.rate_limits import Bucket, Rate, TooManyRequests
from payonce.domain.errors import NotFound
from payonce.metrics import REFUSED
from payonce.runtime import Runtime
from payonce.storage.driver.database import within
from payonce.storage.payments import payment_of_any_merchant

SVG, PNG = "image/svg+xml", "image/png"
PIXELS_PER_MODULE = 8
QUIET_ZONE = 4  # modules around the code, which scanners need (ISO/IEC 18004 §9.1)
KEPT_S, KEPT_MAX = 3_600.0, 500  # longer than a customer has; a drawing has up to 20 KB
DRAWINGS: Final = Rate(per_s=10.0, burst=20)
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Vary": "Accept",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Codes:
    """The handler of `/v1/payments/{id}/qr`.

    What is asked about again within a moment is not looked up again, and no code is drawn twice while it is kept.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lookups = Lookups()
        self._links = Remembered[str, str](MOMENT_S, most=KEPT_MAX)  # "": nobody is to scan anything
        self._drawings = Remembered[tuple[str, str], Made](KEPT_S, most=KEPT_MAX)
        self._drawn = Bucket(DRAWINGS, now=time.monotonic())

    async def show(self, request: Request) -> Response:
        """The code while the customer is to act; afterwards there is none."""
        link = await within(READ_S, self._link(path_id(request)))
        media_type = PNG if _prefers_png(request.headers.get("accept", "")) else SVG
        return self._drawing(link, media_type).answer(request, _HEADERS)

    async def _link(self, payment_id: str) -> str:
        """What the code says. Raises `NotFound`."""
        link = self._links.get(payment_id)
        if link is None:
            async with self._lookups.one():
                link = await self._read(payment_id)
                self._links.put(payment_id, link)
                if not link:
                    raise NotFound
        if not link:
            raise NotFound
        return link

    async def _read(self, payment_id: str) -> str:
        async with self._runtime.database.browsing() as connection:
            payment = await connection.fetch(payment_of_any_merchant(payment_id))
        action = (payment.next_action if payment is not None else None) or {}
        return str(action["url"]) if "image_url" in action else ""

    def _drawing(self, link: str, media_type: str) -> Made:
        """Drawn, unless it was already. Raises `TooManyRequests`: a drawing takes 26 ms of the event loop."""
        made = self._drawings.get((link, media_type))
        if made is None:
            if wait_s := self._drawn.take(time.monotonic()):
                REFUSED.labels("drawing").inc()
                raise TooManyRequests(retry_after_s=wait_s)
            made = Made.of(_image(link, media_type), media_type=media_type)
            self._drawings.put((link, media_type), made)
        return made


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
