"""What browsers brought back from acquirers' pages: each set once, sealed, and erased with the outcome."""

import json
from collections.abc import Mapping
from typing import cast

from payonce.domain.operations import Attempt
from payonce.sealing import Sealed, Sealer


def seal(sealer: Sealer, parameters: Mapping[str, str], attempt: Attempt, *, number: int) -> Sealed:
    """As it may be stored: as another return, or another attempt's, it does not open."""
    return sealer.seal(json.dumps(parameters, sort_keys=True), about=_about(attempt, number))


def unseal(sealer: Sealer, sealed: Sealed, attempt: Attempt, *, number: int) -> Mapping[str, str]:
    """What this return of the attempt brought. Raises `CannotUnseal`."""
    return cast("Mapping[str, str]", json.loads(sealer.unseal(sealed, about=_about(attempt, number))))


def _about(attempt: Attempt, number: int) -> tuple[str, ...]:
    return ("return", attempt.operation_id, str(attempt.number), str(number))
