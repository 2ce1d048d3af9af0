"""Disputes: what somebody who plays the bank decides, as Adyen tells it.

Source: risk-management/disputes-api/dispute-notifications (the events; one `pspReference` for all of a dispute;
`originalReference` is the payment's), spec, Webhooks (`defensePeriodEndsAt`, `chargebackReasonCode`). That
`merchantReference` is the payment's is a *guess* by the spec's examples, as is which events follow one another.
"""

from devstack.acquirer.adyen import objects
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json
from devstack.acquirer.movements import Result


def told(call: Call, before: Result | None, after: Result, payment: Json) -> None:
    """What the bank decided is told, event by event."""
    for event in _events(before, after):
        amount = after["withdrawn"] or (after["amount"] if before is None else before["withdrawn"])
        about = _about(payment, after["id"].removeprefix("dsp_")[:16].upper(), amount or after["amount"])
        more = {"chargebackReasonCode": "10.4", "disputeStatus": "Undefended"}
        if after["evidence_due_by"] is not None:
            more["defensePeriodEndsAt"] = after["evidence_due_by"]
        call.tell(event, payment, success=True, reason=after["reason"], modification=about, more=more)


def suspected(call: Call, payment: Json) -> None:
    """The issuer has told the scheme of a fraud. Source: NOTIFICATION_OF_FRAUD."""
    about = _about(payment, objects.new_psp_reference(), payment["amount"])
    more = {"nofReasonCode": "0", "nofSchemeCode": "visa"}
    call.tell("NOTIFICATION_OF_FRAUD", payment, success=True, modification=about, more=more)


_BY_STATUS = {
    "under_review": "INFORMATION_SUPPLIED",
    "won": "CHARGEBACK_REVERSED",
    "lost": "DISPUTE_DEFENSE_PERIOD_ENDED",
    "accepted": "DISPUTE_DEFENSE_PERIOD_ENDED",
}
_OF_PRE_ARBITRATION = {"won": "PREARBITRATION_WON", "lost": "PREARBITRATION_LOST"}


def _events(before: Result | None, after: Result) -> list[str]:
    stage, status = after["stage"], after["status"]
    if stage == "inquiry" and before is None:
        return ["REQUEST_FOR_INFORMATION"]
    if before is None or (before["stage"] == "inquiry" and stage == "chargeback"):
        return ["NOTIFICATION_OF_CHARGEBACK", "CHARGEBACK"]
    defended = status == "lost" and (
        before["status"] == "under_review" or after["withdrawn"] < before["withdrawn"]
    )
    if stage == "pre_arbitration" == before["stage"] and status in _OF_PRE_ARBITRATION:
        return [_OF_PRE_ARBITRATION[status]]
    if stage != before["stage"] or defended:
        return ["SECOND_CHARGEBACK"]
    return [_BY_STATUS[status]] if status in _BY_STATUS else []


def _about(payment: Json, psp: str, amount: int) -> Json:
    return {
        "psp": psp,
        "reference": payment["reference"],
        "ledger_reference": payment["ledger_reference"],
        "amount": amount,
    }
