"""A risk provider that says what the payment's metadata tell it to, in test mode only. Source: `docs/sandbox.md`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from payonce.risk.base import Assessment, RiskVerdict, RiskView

TRIGGER: Final = "sandbox_risk"
SLOW_S: Final = 5.0  # nobody waits for so long
REMEMBERED_MAX: Final = 1_000  # payments about which it lied
_FAULTS: Final = ("slow", "wrong", "lying")
VALUES: Final = (*(verdict.value for verdict in RiskVerdict), *_FAULTS)


def _wrong_value(text: str) -> str | None:
    return None if text in VALUES else f"must be one of {', '.join(VALUES)}"


SWITCHES: Final[Mapping[str, Callable[[str], str | None]]] = {TRIGGER: _wrong_value}
"""Members of a payment's metadata that act in test mode, each with what says what is wrong with a value."""


class SandboxRisk:
    """A verdict by its name; or it answers too late, what is no verdict, or another one each time it is asked."""

    name = "sandbox"

    def __init__(self) -> None:
        self._lies: dict[str, int] = {}

    async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        said = view.metadata.get(TRIGGER, RiskVerdict.ALLOW.value)
        match said:
            case "slow":
                await asyncio.sleep(SLOW_S)
                return self._say(RiskVerdict.ALLOW)
            case "wrong":
                return cast("Assessment", {"verdict": "perhaps"})
            case "lying":
                return self._say(self._lie(view.payment_id))
            case _:
                return self._say(RiskVerdict(said))

    async def close(self) -> None:
        """Nothing is open."""

    def _say(self, verdict: RiskVerdict) -> Assessment:
        return Assessment(verdict=verdict, reasons=(f"sandbox_{verdict}",), provider=self.name)

    def _lie(self, payment_id: str) -> RiskVerdict:
        """Allowed at first, blocked at the next time, and so on."""
        asked = self._lies.pop(payment_id, 0)
        self._lies[payment_id] = asked + 1
        if len(self._lies) > REMEMBERED_MAX:
            del self._lies[next(iter(self._lies))]
        return RiskVerdict.BLOCK if asked % 2 else RiskVerdict.ALLOW
