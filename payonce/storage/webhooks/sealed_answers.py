"""Answers that hold a secret: stored with the secret sealed, sent with it in the clear."""

import base64
import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.sealing import Sealed, Sealer
from payonce.storage.driver.connection import Connection
from payonce.storage.idempotency import SECRET_SHOWN

ANSWERS_AT_ONCE: Final = 500
_MARK: Final = "sealed"

_WITH_OTHER_KEY = text(
    """
    SELECT merchant_id, mode, key, answer_body
      FROM idempotency_keys
     WHERE operation_id IS NULL  -- as of every answer about an endpoint; an index finds these few
       AND answer_kind = ANY (CAST(:kinds AS text[])) AND answered_at > :since
       AND position(CAST(:sealed AS bytea) IN answer_body) > 0
       AND position(CAST(:with_first_key AS bytea) IN answer_body) = 0
     LIMIT :limit
       FOR UPDATE
    """
)
_STORE = text(
    """
    UPDATE idempotency_keys SET answer_body = :answer_body
     WHERE merchant_id = :merchant_id AND mode = :mode AND key = :key
    """
)


def conceal(kind: AnswerKind, view: dict[str, Any], sealer: Sealer) -> Answer:
    """The answer as it may be stored: the object with its secret, if it has one, sealed."""
    return Answer(kind, encode(view if "secret" not in view else _sealed(view, sealer)))


def revealed(body: bytes, sealer: Sealer) -> bytes:
    """The body as it is sent: the same bytes each time, while the secret is in it. Raises `CannotUnseal`."""
    view = json.loads(body)
    mark, _, rest = view.get("secret", "").partition(":")
    if mark != _MARK:  # it was taken out after a day, or stored by the first release
        return body
    key_id, _, data = rest.partition(":")
    secret = sealer.unseal(Sealed(key_id, base64.b64decode(data)), about=_about(view))
    return encode({**view, "secret": secret})


async def seal_answers_again(
    connection: Connection, sealer: Sealer, *, now: datetime, limit: int = ANSWERS_AT_ONCE
) -> int:
    """How many answers held a secret under another key than the sealer's first; now it is under that one.

    At most `limit` at a time: once it returns 0, no replay needs another key. Raises `CannotUnseal`.
    """
    parameters = {
        "kinds": [AnswerKind.ENDPOINT.value, AnswerKind.ENDPOINT_CHANGED.value],
        "since": now - SECRET_SHOWN,
        "sealed": f'"secret":"{_MARK}:'.encode(),
        "with_first_key": f'"secret":"{_MARK}:{sealer.key_id}:'.encode(),
        "limit": limit,
    }
    found = (await connection.execute(_WITH_OTHER_KEY, parameters)).mappings().all()
    for row in found:
        view = json.loads(revealed(bytes(row["answer_body"]), sealer))
        await connection.execute(_STORE, {**row, "answer_body": encode(_sealed(view, sealer))})
    return len(found)


def _sealed(view: dict[str, Any], sealer: Sealer) -> dict[str, Any]:
    sealed = sealer.seal(view["secret"], about=_about(view))
    return {**view, "secret": f"{_MARK}:{sealed.key_id}:{base64.b64encode(sealed.data).decode()}"}


def _about(view: dict[str, Any]) -> tuple[str, ...]:
    return ("idempotency_keys", str(view["id"]))
