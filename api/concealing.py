"""Results whose stored answer holds a sealed secret are sent with it in the clear."""

from dataclasses import replace

from api.admission.waiting import Result
from payonce.domain.answers import Answer
from payonce.sealing import Sealer
from payonce.storage.webhooks.sealed_answers import revealed


def reveal(result: Result, sealer: Sealer) -> Result:
    """The result as it is sent: the same bytes each time, while the secret is in it. Raises `CannotUnseal`."""
    if result.answer is None:
        return result
    return replace(result, answer=Answer(result.answer.kind, revealed(result.answer.body, sealer)))
