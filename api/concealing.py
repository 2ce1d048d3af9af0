"""Answers that hold a secret: stored with the secret sealed, sent with it in the clear."""

import base64
import json
from dataclasses import replace
from typing import Any, Final

from api.outcomes import Result
from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.sealing import Sealed, Sealer

_MARK: Final = "sealed"


def conceal(kind: AnswerKind, view: dict[str, Any], sealer: Sealer) -> Answer:
    """The answer as it may be stored: the object with its secret, if it has one, sealed."""
    if "secret" not in view:
        return Answer(kind, encode(view))
    sealed = sealer.seal(view["secret"], about=_about(view))
    value = f"{_MARK}:{sealed.key_id}:{base64.b64encode(sealed.data).decode()}"
    return Answer(kind, encode({**view, "secret": value}))


def reveal(result: Result, sealer: Sealer) -> Result:
    """The result as it is sent: the same bytes each time, while the secret is in it. Raises `CannotUnseal`."""
    if result.answer is None:
        return result
    view = json.loads(result.answer.body)
    mark, _, rest = view.get("secret", "").partition(":")
    if mark != _MARK:  # it was taken out after a day, or stored by the first release
        return result
    key_id, _, data = rest.partition(":")
    secret = sealer.unseal(Sealed(key_id, base64.b64decode(data)), about=_about(view))
    answer = Answer(result.answer.kind, encode({**view, "secret": secret}))
    return replace(result, answer=answer)


def _about(view: dict[str, Any]) -> tuple[str, ...]:
    return ("idempotency_keys", str(view["id"]))
