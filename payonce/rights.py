"""Rights: what the owner of a claim holds in memory, together with the card that lives nowhere else.

A right is taken before the first byte and used once, so a second run in the same process is "anyone else" too: it
never sends and never re-sends.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from payonce.clock import boot_clock_s
from payonce.connectors.base import Call
from payonce.domain.cards import Card
from payonce.domain.claiming import SEND_WITHIN
from payonce.domain.ids import random_id
from payonce.domain.truth import closes_early
from payonce.paying import Takes

SEND_WITHIN_S = SEND_WITHIN.total_seconds()  # on the owner's own clock
REPLAY_AFTER_S, REPLAY_UNTIL_S = 1.0, 20.0  # since the claim: when its owner may send an authorization again
KEPT_S = 30.0  # longer than anybody waits for a right to be taken, or a workflow to try again
RIGHTS_MAX = 10_000  # beyond this a process admits nothing more


@dataclass(frozen=True, slots=True)
class Right:
    """What its holder may put on the wire, once, until `deadline` on this machine's clock."""

    call: Call
    attempt: int
    token: str  # of this very claim
    connector_account: str
    deadline: float
    clock: Callable[[], float] = boot_clock_s
    takes: Takes | None = None  # from the vault, once the claim is proven
    kind: Literal["right"] = "right"

    @property
    def in_memory(self) -> bool:
        """Whether it holds what is nowhere else: a card, a device wallet's token, a cryptogram, a security code."""
        call = self.call
        held = (call.card, call.network_token, call.authentication, self.takes and self.takes.cvc)
        return any(one is not None for one in held)

    @property
    def lacks_credential(self) -> bool:
        """Whether the saved card is erased that the attempt was to be made with."""
        stored = self.call.stored
        return stored is not None and stored.paid_with and self.takes is None and self.call.token is None

    def with_card(self, card: Card) -> "Right":
        """The same, for one call with the number that was taken."""
        return replace(self, call=replace(self.call, card=card))

    def holds(self) -> bool:
        """Looked at right before the first byte."""
        return self.clock() < self.deadline

    def permit(self) -> "Permit":
        """What a connector asks; made once, by whoever took the right."""
        return Permit(self)

    def replay(self, *, window_s: float) -> "ReplayPermit":
        """What a connector asks when the same call is sent again, once, by whoever sent it."""
        return ReplayPermit(self, window_s=window_s)


class Permit:
    """`MaySend` of one right."""

    def __init__(self, right: Right) -> None:
        self._right = right
        self._used = False

    def __call__(self) -> bool:
        holds = self._right.holds() and not self._used
        self._used = self._used or holds
        return holds

    def left_s(self) -> float:
        return 0.0 if self._used else max(0.0, self._right.deadline - self._right.clock())

    def held_s(self) -> float:
        return SEND_WITHIN_S - (self._right.deadline - self._right.clock())


class ReplayPermit:
    """`MaySend` of an authorization that its owner sends again: no right to send, and for the same call only.

    It holds from 1 s to 20 s after the claim, while the acquirer's window is open.
    """

    def __init__(self, right: Right, *, window_s: float) -> None:
        self._right = right
        self._until_s = min(REPLAY_UNTIL_S, window_s - closes_early(window_s).total_seconds())
        self._used = False

    def __call__(self) -> bool:
        holds = self.left_s() > 0 and self.held_s() >= REPLAY_AFTER_S
        self._used = self._used or holds
        return holds

    def opens_in_s(self) -> float:
        """How long until it holds."""
        return max(0.0, REPLAY_AFTER_S - self.held_s())

    def left_s(self) -> float:
        return 0.0 if self._used else max(0.0, self._until_s - self.held_s())

    def held_s(self) -> float:
        return SEND_WITHIN_S - (self._right.deadline - self._right.clock())


class Rights:
    """The rights of one process, by operation id; `owner` is its id for this boot."""

    def __init__(self) -> None:
        self.owner = random_id("boot")
        self._rights: dict[str, Right] = {}
        self._unsent: dict[str, Right] = {}
        self._doubted: set[str] = set()
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        return len(self._rights) + len(self._unsent) >= RIGHTS_MAX

    def grant(self, operation_id: str, right: Right) -> None:
        """The claim is committed: whoever takes the right may send. An earlier attempt's card serves no more."""
        self._rights[operation_id] = right
        self._unsent.pop(operation_id, None)
        self._forget_later()

    def take(self, operation_id: str) -> Right | None:
        """The right, which nobody else can take any more; None when it was taken, withdrawn or never here."""
        return self._rights.pop(operation_id, None)

    def doubt(self, operation_id: str) -> None:
        """The right to the operation, if it is held, is used only after the operation was inquired about."""
        if operation_id in self._rights:
            self._doubted.add(operation_id)

    def doubts(self, operation_id: str) -> bool:
        """Whether Postgres may have forgotten attempts of the operation that were sent."""
        return operation_id in self._doubted

    def keep_unsent(self, operation_id: str, right: Right) -> None:
        """The attempt is recorded as not sent: its card may serve a further attempt, which needs a new claim."""
        if operation_id not in self._rights:
            self._unsent[operation_id] = right
            self._forget_later()

    def take_unsent(self, operation_id: str) -> Right | None:
        """What a further attempt needs of an unsent one; taken before that attempt is claimed."""
        return self._unsent.pop(operation_id, None)

    def withdraw(self, operation_id: str, right: Right) -> bool:
        """This right, or what its attempts left, is used no more. False: somebody holds it, or a later claim's."""
        if self._rights.get(operation_id) is right:
            del self._rights[operation_id]
            return True
        unsent = self._unsent.get(operation_id)
        if unsent is None or unsent.attempt < right.attempt:
            return False
        del self._unsent[operation_id]
        return True

    def lapse(self, operation_id: str, right: Right) -> bool:
        """A right that nobody took in time is withdrawn: no run can use it any more. False: it is not there."""
        if self._rights.get(operation_id) is not right or right.holds():
            return False
        del self._rights[operation_id]
        return True

    def _forget_later(self) -> None:
        """One timer for all: a card that nobody came for leaves the memory."""
        if self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(KEPT_S, self._forget)

    def _forget(self) -> None:
        self._forgetting = None
        for kept in (self._rights, self._unsent):
            for operation_id, right in list(kept.items()):
                if right.clock() > right.deadline + KEPT_S:
                    del kept[operation_id]
        self._doubted &= self._rights.keys() | self._unsent.keys()
        if self._rights or self._unsent:
            self._forget_later()
