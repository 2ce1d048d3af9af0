"""Facts that callbacks carry, as the inbox keeps them: JSON with a `kind`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from payonce.domain.evidence import kept_codes
from payonce.domain.facts import Declined, Told
from payonce.logging import get_logger

log = get_logger(__name__)

_TOLD: Final[TypeAdapter[Told]] = TypeAdapter(Annotated[Told, Field(discriminator="kind")])


def encoded(fact: Told) -> dict[str, Any]:
    """The fact for a jsonb column. Raises `ValueError` for one that a callback cannot carry."""
    if isinstance(fact, Declined):
        fact = replace(fact, raw=kept_codes(fact.raw))
    return dict(_TOLD.dump_python(fact, mode="json", warnings="error"))


def decoded(kept: Mapping[str, Any]) -> Told:
    """The fact that was encoded. Raises `ValueError` for one of a version that has other kinds."""
    return _TOLD.validate_python(dict(kept))


def decoded_all(kept: Iterable[Mapping[str, Any]]) -> list[Told]:
    """The facts that were encoded; one of a version that has other kinds holds up no other."""
    facts = []
    for one in kept:
        try:
            facts.append(decoded(one))
        except ValueError:
            log.error("told_fact_unreadable")
    return facts
