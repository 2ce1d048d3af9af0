"""Requests to an acquirer, and which answers it documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """Which statuses other than 2xx the acquirer documents. Every other one leaves the outcome unknown."""

    answers: frozenset[int] = frozenset()  # returned, for the connector to read
    rejections: frozenset[int] = frozenset()  # nothing was processed
    content: Literal["json object", "json", "any"] = "json object"  # of every answer; else it is none
    headers: frozenset[str] = frozenset()  # of answers, lower-case: what the connector reads
    bytes_max: int = 64 * 1024  # of an answer: a longer one is none


FormValue = str | int | bool | Sequence["FormValue"] | Mapping[str, "FormValue"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request as the acquirer documents it, with one body at most. What it carries shows in no repr.

    `form` is sent with its members in brackets, `a[b]=c`, and without those that are None. A value from outside
    goes into `path` through `segment`.
    """

    path: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    json: BaseModel | None = field(default=None, repr=False)
    form: Mapping[str, FormValue] | None = field(default=None, repr=False)
    query: Mapping[str, FormValue] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    documented: Documented | None = None  # of this call, in place of the account's

    def body(self) -> tuple[str | None, bytes]:
        """The media type and the bytes. Raises `ValueError` for two bodies."""
        if self.json is not None and self.form is not None:
            raise ValueError("a request has one body")
        if self.json is not None:
            return "application/json", self.json.model_dump_json(exclude_none=True).encode()
        if self.form is not None:
            return "application/x-www-form-urlencoded", urlencode(_flat(self.form)).encode()
        return None, b""

    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(_flat(self.query))}" if self.query else self.path


def segment(value: str) -> str:
    """A value as one segment of a path: it cannot name another one."""
    return quote(value, safe="") if value.strip(".") else quote(value, safe="").replace(".", "%2E")


def _flat(members: Mapping[str, FormValue]) -> list[tuple[str, str]]:
    """The members as a form has them: objects and lists by brackets, in order."""
    flat: list[tuple[str, str]] = []
    for name, value in members.items():
        flat += _member(name, value)
    return flat


def _member(name: str, value: FormValue) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [pair for inner, of in value.items() for pair in _member(f"{name}[{inner}]", of)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        plain = not any(isinstance(of, Mapping) for of in value)
        return [
            pair
            for place, of in enumerate(value)
            for pair in _member(f"{name}[{'' if plain else place}]", of)
        ]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]
