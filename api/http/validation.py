"""From JSON members to a model, and from what is wrong with them to JSON Pointers: never a rejected value."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.problems import ERRORS_MAX, STATUS, Mistake, Problem, pointer_of
from api.schemas.payments import Context

INVALID = "invalid_request"

_DETAILS: Final[Mapping[str, str]] = {
    # pydantic's own sentences are not used: some of them show the value
    "missing": "is required",
    "extra_forbidden": "is not a member of this request",
    "int_type": "must be an integer",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "too_long": "must have at most {max_length} members",
    "too_short": "must have at least {min_length} members",
    "union_tag_not_found": "is required",
    "union_tag_invalid": "must be {expected_tags}",
}

M = TypeVar("M", bound=BaseModel)


def understand(model: type[M], members: Mapping[str, Any], context: Context) -> M:
    """The body as the model has it. Raises `Problem` with what is wrong and where."""
    try:
        return model.model_validate(members, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    raise _problem(found)


def _problem(found: list[ErrorDetails]) -> Problem:
    """One code for all: the general one unless every mistake has a code of its own. Of many the first are told."""
    codes = [each["type"] if each["type"] in STATUS else INVALID for each in found]
    code = INVALID if INVALID in codes else codes[0]
    mistakes = [_mistake(each) for each in found[:ERRORS_MAX]]
    first = mistakes[0]
    return Problem(code, f"{first.pointer or 'The body'} {first.detail}.", mistakes=mistakes)


def _mistake(error: Any) -> Mistake:
    context = error.get("ctx", {})
    if error["type"] in STATUS:  # one of ours: its sentence is ours too
        return Mistake(pointer_of(_path(error, context)), error["msg"])
    detail = _DETAILS.get(error["type"], "is not valid")
    return Mistake(pointer_of(_path(error, context)), detail.format_map(context))


def _path(error: Any, context: Mapping[str, Any]) -> list[str | int]:
    """Where the mistake is, without what pydantic adds: the tag of a union, the mark of a member's name."""
    path = list(error["loc"])
    if len(path) > 2 and path[-1] == "[key]":  # after the name, which may be the same
        path.pop()
    if path[:1] == ["payment_method"]:
        del path[1:2]
    if error["type"].startswith("union_tag"):
        path.append("type")
    if "at" in context:
        path.append(context["at"])
    return path
