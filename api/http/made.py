"""Bytes that are made once and sent as often as somebody asks: documents and drawings, which need no API key."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from api.problems import NOT_MODIFIED

TAG_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Made:
    """A representation with its ETag (RFC 9110 §8.8.3)."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, *, media_type: str) -> Self:
        return cls(body, media_type, f'"{sha256(body).hexdigest()[:TAG_DIGITS]}"')

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The bytes, or 304 where the client has them already; to be asked about each time."""
        headers = {"Cache-Control": "no-cache", **headers, "ETag": self.etag}
        if self.is_known_to(request):
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)

    def is_known_to(self, request: Request) -> bool:
        """Whether `If-None-Match` names it (RFC 9110 §13.1.2: compared weakly)."""
        named = ",".join(request.headers.getlist("if-none-match")).split(",")
        return any(each.strip().removeprefix("W/") in (self.etag, "*") for each in named)
