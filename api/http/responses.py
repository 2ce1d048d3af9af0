"""From what admission returns to a response."""

from starlette.responses import Response

from api.admission.waiting import Result
from api.problems import ACCEPTED, CREATED, JSON, PROBLEM_JSON, is_problem, status_of, stored_body

NO_STORE = {"Cache-Control": "no-store"}


def reply(result: Result) -> Response:
    """The stored answer, byte for byte, or a 202 with the object as it is."""
    if result.answer is None:
        assert result.current is not None, "a result is an answer or the current object"
        headers = {**NO_STORE, "Location": result.location}
        return Response(result.current, status_code=ACCEPTED, media_type=JSON, headers=headers)
    kind = result.answer.kind
    status = status_of(kind)
    headers = dict(NO_STORE)
    if status in (CREATED, ACCEPTED):
        headers["Location"] = result.location
    if result.replayed:
        headers["Idempotent-Replayed"] = "true"
    media_type = PROBLEM_JSON if is_problem(kind) else JSON
    return Response(stored_body(result.answer), status_code=status, media_type=media_type, headers=headers)


def shown(body: bytes, *, status: int = 200) -> Response:
    """An object as it is now."""
    return Response(body, status_code=status, media_type=JSON, headers=NO_STORE)
