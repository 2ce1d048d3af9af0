"""What cardholders' banks dispute at Adyen, as its webhooks tell it: each says one change of a dispute.

Every event of a dispute has the dispute's own `pspReference`, and the payment's as `originalReference` and
`merchantReference`. That, the amount and the event are signed; when it happened, its deadline and its reasons are
not, so the procedure (`Disputed.step`) says which event is newer, and not its date. An announced chargeback counts as
withdrawn: its `CHARGEBACK` follows, and a refund beside it would pay twice. `INFORMATION_SUPPLIED` and what ends a
procedure by its time say nothing of the money.
Source: docs.adyen.com/risk-management/disputes-api/dispute-notifications and /api-explorer/Webhooks/1. Read, and not
tried. From memory: that money is back with `CHARGEBACK_REVERSED` and `PREARBITRATION_WON`, and away with
`PREARBITRATION_LOST`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from payonce.connectors.adyen import reading
from payonce.connectors.adyen.answers import NotificationItem
from payonce.domain.facts import BankWord, Disputed, DisputeStage, FraudWarned

_FRAUD: Final = "NOTIFICATION_OF_FRAUD"
_CODES: Final = ("chargebackReasonCode", "rfiReasonCode")
CODE_LENGTH_MAX: Final = 12  # a card number is longer
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class _Meaning:
    step: int
    status: Literal["needs_response", "under_review", "won", "lost"]
    stage: DisputeStage = "chargeback"
    withdrawn: bool = True
    only_status: bool = False


_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "REQUEST_FOR_INFORMATION": _Meaning(0, "needs_response", stage="inquiry", withdrawn=False),
    "NOTIFICATION_OF_CHARGEBACK": _Meaning(1, "needs_response"),
    "DISPUTE_OPENED_WITH_CHARGEBACK": _Meaning(1, "needs_response"),
    "CHARGEBACK": _Meaning(2, "needs_response"),
    "INFORMATION_SUPPLIED": _Meaning(3, "under_review", only_status=True),
    "DISPUTE_DEFENSE_PERIOD_ENDED": _Meaning(4, "lost", only_status=True),
    "CHARGEBACK_REVERSED": _Meaning(5, "won", withdrawn=False),
    "ISSUER_RESPONSE_TIMEFRAME_EXPIRED": _Meaning(6, "won", only_status=True),
    "SECOND_CHARGEBACK": _Meaning(7, "lost", stage="pre_arbitration"),
    "PREARBITRATION_WON": _Meaning(8, "won", stage="pre_arbitration", withdrawn=False),
    "PREARBITRATION_LOST": _Meaning(8, "lost", stage="pre_arbitration"),
}
EVENTS: Final = frozenset({*_MEANINGS, _FRAUD})


def read(item: NotificationItem) -> BankWord | None:
    """What a signed item of `EVENTS` says. Raises `OutcomeUnknown` for an amount that ours cannot be."""
    if item.event == _FRAUD:
        return FraudWarned(item.psp)
    meaning = _MEANINGS[item.event]
    amount_minor, currency = reading.money(item.amount)
    return Disputed(
        id=item.psp,
        stage=meaning.stage,
        status=meaning.status,
        amount_minor=amount_minor,
        currency=currency,
        withdrawn_minor=amount_minor if meaning.withdrawn else 0,
        withdrawn_in=currency,
        reason=item.reason or "",
        at=_moment(item.date) or _EPOCH,
        network_reason_code=_code(item.additional),
        evidence_due_by=_moment(item.additional.get("defensePeriodEndsAt")),
        step=meaning.step,
        only_status=meaning.only_status,
    )


def _code(additional: Mapping[str, str]) -> str | None:
    found = next((additional[name] for name in _CODES if name in additional), "")
    return found if 0 < len(found) <= CODE_LENGTH_MAX else None


def _moment(text: str | None) -> datetime | None:
    """A time with its zone; None of any other text."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None and found.year > 1 else None
