"""The list of charges that an acquirer keeps, for connectors of acquirers that have one."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, Protocol, TypeVar

import structlog

from payonce.domain.errors import OutcomeUnknown, UnexpectedAnswer, UnknownThere
from payonce.domain.facts import Disputed
from payonce.domain.reconciling import TheirCharge

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLimits:
    """How the list may be read."""

    lag_s: float = 60.0  # after this, what happened is in it
    pages_per_s: float = 2.0  # so that payments keep the most of what the acquirer allows an account
    payers_write: bool = False  # what stands where our references do: see `ChargeProving`


@dataclass(frozen=True, slots=True)
class ChargePage:
    """Some of the charges; `following`: where the next page begins, which may be in words of the acquirer's.

    `unreadable`: ids of theirs that may be ours, and of which nobody knows what they stand for. The others count.
    `disputes`: of an acquirer that lists them apart, each about the charge whose id there it has (`Disputed.about`).
    """

    charges: tuple[TheirCharge, ...]
    following: str | None = None
    unreadable: tuple[str, ...] = ()
    disputes: tuple[Disputed, ...] = ()
    kind: Literal["listed"] = "listed"


class Unreadable(OutcomeUnknown):
    """What an object of the list stands for is not known, and asking once more would show the same."""

    def __init__(self, acquirer_id: str, why: str) -> None:
        super().__init__(f"{acquirer_id}: {why}")
        self.acquirer_id = acquirer_id


@contextmanager
def readable(acquirer_id: str) -> Iterator[None]:
    """What is made of an object that is here already: what is unknown then, is unreadable. Nothing is asked in it."""
    try:
        yield
    except OutcomeUnknown as error:
        raise Unreadable(acquirer_id, error.message) from error


@contextmanager
def answered(acquirer_id: str) -> Iterator[None]:
    """What is asked about one object of the list: an answer that cannot be read is of that object alone.

    One that did not come, or may be another one the next time, fails the page: it is asked for again.
    """
    try:
        yield
    except (UnexpectedAnswer, UnknownThere) as error:
        raise Unreadable(acquirer_id, error.message) from error


Listed = TypeVar("Listed")


async def page_of(
    listed: Iterable[Listed],
    read: Callable[[Listed], Awaitable[TheirCharge | None]],
    *,
    following: str | None,
) -> ChargePage:
    """The page of what `read` makes of each; none of those that it finds `Unreadable` hides the others."""
    charges: list[TheirCharge] = []
    unreadable: list[str] = []
    for one in listed:
        try:
            charge = await read(one)
        except Unreadable as error:
            log.error("acquirer_charge_unreadable", acquirer_id=error.acquirer_id, why=error.message)
            unreadable.append(error.acquirer_id)
        else:
            charges += [] if charge is None else [charge]
    return ChargePage(tuple(charges), following, tuple(unreadable))


class ChargeListing(Protocol):
    """What a connector has besides whose acquirer can be asked what it did, whoever asked it to.

    Its class has `list_limits`. Of one that has none, and whose callbacks carry
    facts, what they told is read once more (`reconciling.told`); any other is compared with nothing.
    """

    list_limits: ClassVar[ListLimits]

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """Charges of this account of which something moved in that time, or that were made in it.

        Each with what it is by now, and what an inquiry would say of every reference under it. A charge may come on
        several pages. Raises the `ConnectorError`s; moves nothing.
        """
        ...


class ChargeProving(ChargeListing, Protocol):
    """What a connector has besides where payers may write references (`ListLimits.payers_write`)."""

    async def is_ours(self, charge: TheirCharge) -> bool:
        """Whether nobody but us can have had the charge made under its reference, as another object of theirs says.

        Asked before anything is recorded, and perhaps undone, of one that is news here. Raises the `ConnectorError`s;
        moves nothing.
        """
        ...


class DisputeListing(ChargeListing, Protocol):
    """What a connector has besides whose pages have `disputes`."""

    async def reference_of(self, charge_id: str) -> str | None:
        """Our reference, as far as the acquirer's charge with this id bears one. Raises the `ConnectorError`s.

        It proves nothing where payers may write it. Moves nothing.
        """
        ...
