"""How one operation of the API is described, for FastAPI to put into the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from api.http.key_header import KEY_MAX_LENGTH, WAIT_S_MAX
from api.http.lists import LIMIT_DEFAULT, LIMIT_MAX
from api.openapi.problems import ProblemView
from api.problems import ACCEPTED, CREATED, FOUND, JSON, NOT_MODIFIED, PROBLEM_JSON, STATUS, TITLES
from payonce.domain import answers

Schema = dict[str, Any]
OK = 200
SECURITY_SCHEME = "apiKey"
BASIC_SCHEME = "apiKeyAsUserName"
IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Makes the request safe to repeat: the same key and the same request get the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[!#-+\--~]+$"},
}
OPTIONAL_KEY: Final[Schema] = {**IDEMPOTENCY_KEY, "required": False}
STORED: Final = frozenset(kind.value for kind in answers.TITLES)
READ_CODES: Final = ("unauthenticated", "rate_limited", "unavailable")


def query(name: str, schema: Schema, text: str) -> Schema:
    """An optional parameter in the query string."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


BODY_CODES: Final = (
    *("invalid_request", "invalid_json", "request_timeout", "body_too_large", "unsupported_media_type"),
    *READ_CODES,
    "outcome_unknown",
)
OPTIONAL_KEY_CODES: Final = (
    *BODY_CODES,
    *("idempotency_key_invalid", "idempotency_key_reused"),
    *("idempotency_key_in_use", "idempotency_key_expired"),
)
KEY_CODES: Final = (*OPTIONAL_KEY_CODES, "idempotency_key_missing")
ID_IN_PATH: Final[Schema] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
_PREFER: Final[Schema] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": f"`wait=N`: wait up to N (at most {WAIT_S_MAX}) seconds for the answer to an earlier"
    " request with the same key, instead of 409.",
    "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
    "example": "wait=10",
}
POST: Final = (IDEMPOTENCY_KEY, _PREFER)
POST_ONCE: Final = (OPTIONAL_KEY, _PREFER)
_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
PAGE: Final = (
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        "How many objects at most",
    ),
    query("starting_after", _ID, "The objects that follow the one with this id in the list's order"),
    query("ending_before", _ID, "The objects right before the one with this id; not with `starting_after`"),
)
CREATED_BETWEEN: Final = (
    query("created_after", _TIME, "Inclusive, RFC 3339"),
    query("created_before", _TIME, "Exclusive, RFC 3339"),
)
LIST_CODES: Final = ("invalid_request", *READ_CODES)
OBJECT_CODES: Final = ("not_found", *READ_CODES)


def model_ref(model: type[BaseModel]) -> Schema:
    """A reference that `api.openapi.document` resolves: to a request body's model, or to an answer's."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def list_of(model: type[BaseModel]) -> Schema:
    """The list object around a model."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": model_ref(model), "maxItems": LIMIT_MAX},
            "has_more": {"type": "boolean"},
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One operation. `answers` are those that are not problems, by status; `codes` those that are."""

    id: str
    tag: str
    summary: str
    text: str = ""
    answers: Mapping[int, tuple[str, Schema | None]]  # without a schema and with media types: bytes
    codes: tuple[str, ...] = READ_CODES
    body: type[BaseModel] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    parameters: tuple[Schema, ...] = ()
    public: bool = False
    any_body: bool = False  # JSON whose members somebody else defines
    media_types: tuple[str, ...] = ()  # of the good answers, where they are not JSON

    def for_fastapi(self) -> dict[str, Any]:
        """The keywords of a FastAPI route."""
        return {
            "operation_id": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.text,
            "status_code": next(iter(self.answers)),
            "response_class": Response,
            "response_model": None,
            "responses": {**self._good_responses(), **self._problem_responses()},
            "openapi_extra": self._extra(),
        }

    def _good_responses(self) -> dict[int | str, dict[str, Any]]:
        return {
            status: {
                "description": text,
                "headers": _headers(status, key=self._replayed(status)),
                **({} if status in (FOUND, NOT_MODIFIED) else self._content(schema)),
            }
            for status, (text, schema) in self.answers.items()
        }

    def _replayed(self, status: int) -> bool:
        """A required key's 202 comes before the answer; an optional key's 202 is the answer."""
        if OPTIONAL_KEY in self.parameters:
            return True
        return IDEMPOTENCY_KEY in self.parameters and status != ACCEPTED

    def _content(self, schema: Schema | None) -> dict[str, Any]:
        if self.media_types:
            found = {"schema": schema or {"type": "string"}}
            return {"content": dict.fromkeys(self.media_types, found)}
        return {} if schema is None else {"content": {JSON: {"schema": schema}}}

    def _problem_responses(self) -> dict[int | str, dict[str, Any]]:
        codes = sorted(set(self.codes) | (set() if self.public else {"internal_error"}), key=_by_status)
        by_status = {status: list(group) for status, group in groupby(codes, key=lambda c: STATUS[c])}
        return {
            status: _problem(group, key=self._replayed(status) and not STORED.isdisjoint(group))
            for status, group in by_status.items()
        }

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"parameters": list(self.parameters)}
        if self.body is not None:
            content: dict[str, Any] = {"schema": model_ref(self.body)}
            if self.example:
                content["example"] = dict(self.example)
            extra["requestBody"] = {"required": self.body_required, "content": {JSON: content}}
        if self.any_body:
            extra["requestBody"] = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
        extra["security"] = [] if self.public else [{SECURITY_SCHEME: []}, {BASIC_SCHEME: []}]
        return extra


def _by_status(code: str) -> tuple[int, str]:
    return STATUS[code], code


def _problem(codes: list[str], *, key: bool) -> dict[str, Any]:
    examples = {
        code: {
            "summary": TITLES[code],
            "value": {
                "status": STATUS[code],
                "type": f"urn:payonce:problem:{code}",
                "title": TITLES[code],
                "detail": TITLES[code] + ".",
                "code": code,
                "request_id": "req_kbwbpnrnvrmd4nkvgsf7w7zs",
            },
        }
        for code in codes
    }
    return {
        "description": " · ".join(f"`{code}`" for code in codes),
        "headers": _headers(STATUS[codes[0]], key=key),
        "content": {PROBLEM_JSON: {"schema": model_ref(ProblemView), "examples": examples}},
    }


def _headers(status: int, *, key: bool) -> Schema:
    """The headers of a response, by its status."""
    named = {"Request-Id": "Names this request in our logs"}
    if status in (CREATED, ACCEPTED, FOUND):
        named["Location"] = "Where the object is"
    if key:
        named["Idempotent-Replayed"] = "`true` when this is the stored answer to an earlier request"
    if status == STATUS["unauthenticated"]:
        named["WWW-Authenticate"] = (
            "How to prove who asks: by an API key (RFC 6750), a callback by its signature"
        )
    if status == STATUS["method_not_allowed"]:
        named["Allow"] = "The methods that the path takes"
    headers: Schema = {
        name: {"description": text, "required": name != "Idempotent-Replayed", "schema": {"type": "string"}}
        for name, text in named.items()
    }
    again = ("idempotency_key_in_use", "rate_limited", "unavailable", "outcome_unknown")
    if status in (STATUS[code] for code in again):
        seconds = {"type": "integer", "minimum": 1}
        headers["Retry-After"] = {"description": "Seconds, where trying again makes sense", "schema": seconds}
    return headers
