"""How long a harness's connectors wait: as long as a machine may stand still, until a time-out is asked for."""

from collections.abc import Iterable
from typing import Any

from payonce.connectors.base import Connector
from payonce.connectors.conformance import Fault

SHORT_S, PATIENT_S = "2.0", "20.0"
TIMED_OUT = (Fault.TIMEOUT_AFTER, Fault.TIMEOUT_BEFORE)


class Patience:
    """Of one harness; what stands between a connector and its acquirer may answer nothing."""

    def __init__(self) -> None:
        self._ends = False

    def of(self, *, itself: bool) -> str:
        """The deadline of a call to the acquirer itself, or to what stands before it."""
        return PATIENT_S if itself and not self._ends else SHORT_S

    def meets(self, fault: Fault, opened: Iterable[Connector]) -> None:
        """A call that is never answered ends soon, also of those that are open already."""
        if fault in TIMED_OUT:
            self._ends = True
            for connector in opened:
                _http_of(connector)._call_deadline_s = float(SHORT_S)


def _http_of(connector: Any) -> Any:
    holder = getattr(connector, "_desk", connector)
    return getattr(holder, "http", None) or holder._http
