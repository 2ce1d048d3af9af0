"""What changes without a request: modifications are judged, shoppers decide, holds expire, schemes reject."""

import sqlite3
from dataclasses import replace
from datetime import datetime

from devstack.acquirer import disputes as bank
from devstack.acquirer import store
from devstack.acquirer.adyen import accounts, cards, disputes, modifications, objects, payments
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json
from devstack.acquirer.faults import plan_for
from devstack.acquirer.movements import Result, Terms


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The change whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM adyen_due WHERE due_at <= ? ORDER BY due_at, position LIMIT 1", (store.timestamp(now),)
    ).fetchone()
    return row


def changed(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> None:
    """It has happened at its time, or is passed over where something else came first."""
    db.execute("UPDATE adyen_due SET due_at = NULL WHERE position = ?", (row["position"],))
    kind = "modification" if row["kind"] == "modification" else "payment"
    about = objects.find(db, kind, row["object_id"])
    if about is None:
        return
    at = datetime.fromisoformat(row["due_at"])
    entries = tuple(about["entries"])
    added = plan_for(entries).amount_added if row["kind"] in ("modification", "decides") else 0
    call = _call(db, about, replace(terms, now=at, entries=entries, amount_added=added))
    if call is None:
        return
    match row["kind"]:
        case "modification":
            modifications.processed(call, about)
        case "decides" if about["state"] == "waiting":
            payments.decided(call, about)
        case "upi_expires" if about["state"] == "waiting":
            _upi_expired(call, about)
        case "upi_succeeds_late" if about["state"] == "refused":
            about["refused"] = None
            payments.decided(call, about)
        case "page_closes" if about["state"] == "waiting" and about["redirect_result"] is None:
            about |= {"page": None}
            objects.put(db, "payment", about)
        case "captures_itself":
            _captured_itself(call, about)
        case "expires":
            _expired(call, about)
    call.sent()


def turned(db: sqlite3.Connection, planned: sqlite3.Row, terms: Terms) -> None:
    """What the ledger's turn means for Adyen's payments, if it is about one and it happened.

    Source: online-payments/capture, "Failed capture", and …/capture/failure-reasons: CAPTURE_FAILED; where Adyen
    captures again, CAPTURE with the reason "Transaction Recaptured". online-payments/refund: REFUND_FAILED,
    REFUNDED_REVERSED. That these have the refund's own reference: killbill-adyen-plugin's tests ("re-used"); that
    CAPTURE_FAILED has the capture's, by analogy.
    """
    turn = db.execute("SELECT * FROM turns WHERE id = ?", (planned["id"],)).fetchone()
    if turn["happened_at"] is None:
        return
    modification = objects.find(db, "modification", turn["operation_id"])
    payment_psp = turn["operation_id"] if modification is None else modification["payment"]
    payment = objects.find(db, "payment", payment_psp)
    if payment is None:
        return
    at = datetime.fromisoformat(turn["happened_at"])
    call = _call(db, payment, replace(terms, now=at, entries=()))
    if call is None:
        return
    about = modification or _unasked(payment, payment["capture_psp"], turn["amount"])
    match turn["type"], turn["operation"]:
        case "undone", "capture":
            payment["captured"] -= turn["amount"]
            call.tell("CAPTURE_FAILED", payment, success=True, reason="Capture Failed", modification=about)
        case "redone", "capture":
            payment["captured"] += turn["amount"]
            call.tell("CAPTURE", payment, success=True, reason="Transaction Recaptured", modification=about)
        case "undone", "refund":
            payment["refunded"] -= turn["amount"]
            event = "REFUNDED_REVERSED" if about["is_reversed"] else "REFUND_FAILED"
            call.tell(event, payment, success=True, reason="Refund Failed", modification=about)
        case "foreign", "refund":
            payment["refunded"] += turn["amount"]
            about = _unasked(payment, objects.new_psp_reference(), turn["amount"])
            call.tell("REFUND", payment, success=True, modification=about)
        case "foreign", "capture":
            payment |= {"captured": payment["captured"] + turn["amount"], "is_closed": True}
            payment["captures"] += 1
            about = _unasked(payment, objects.new_psp_reference(), turn["amount"])
            call.tell("CAPTURE", payment, success=True, modification=about)
        case "captured", "capture":  # a rail that captures by itself tells nobody
            payment |= {"captured": turn["amount"], "captures": 1, "is_closed": True}
    objects.put(db, "payment", payment)
    call.sent()


def disputed(db: sqlite3.Connection, before: Result | None, after: Result, terms: Terms) -> None:
    """What the bank decided, if it is about one of Adyen's payments."""
    payment = objects.find(db, "payment", bank.charge_of(db, after["id"]))
    call = None if payment is None else _call(db, payment, replace(terms, entries=()))
    if call is not None and payment is not None:
        disputes.told(call, before, after, payment)
        call.sent()


def suspected(db: sqlite3.Connection, authorization: sqlite3.Row, terms: Terms) -> bool:
    """The bank suspects a fraud, if it is in one of Adyen's payments; whether it is."""
    payment = objects.find(db, "payment", authorization["id"])
    call = None if payment is None else _call(db, payment, replace(terms, entries=()))
    if call is None or payment is None:
        return False
    disputes.suspected(call, payment)
    call.sent()
    return True


def _unasked(payment: Json, psp: str, amount: int) -> Json:
    """A modification that nobody asked for by request; that it is named as the payment is a *guess*."""
    return {
        "psp": psp,
        "reference": payment["reference"],
        "ledger_reference": payment["ledger_reference"],
        "amount": amount,
        "is_reversed": False,
    }


def _upi_expired(call: Call, payment: Json) -> None:
    """The shopper did not pay in time; `late@upi` does 5 s later after all.

    That AUTHORISATION with `success` false tells it: docs.zuora.com, "One-time payment flow for Adyen UPI QR"; that
    success may follow is the sandbox's own.
    """
    payments.refuse(payment, cards.CANCELLED_BY_SHOPPER)
    payment["state"] = "refused"
    objects.put(call.db, "payment", payment)
    call.tell("AUTHORISATION", payment, success=False, reason=payment["refused"]["reason"])
    if payment["payer"] == "late@upi":
        call.due("upi_succeeds_late", payment["psp"], after_s=payments.LATE_SUCCESS_AFTER_S)


def _captured_itself(call: Call, payment: Json) -> None:
    """Source: online-payments/capture: a delayed capture of what nobody cancelled. A *guess*: nothing tells of it."""
    if payment["state"] != "authorised" or payment["is_closed"]:
        return
    about = _unasked(payment, payment["capture_psp"], payment["amount"] - payment["captured"])
    result = call.recorded("capture", about, payment, amount=about["amount"])
    call.moved(result, payment, "capture")
    payment |= {"captured": payment["captured"] + result["amount"], "is_closed": True}
    payment["captures"] += 1
    objects.put(call.db, "payment", payment)


def _expired(call: Call, payment: Json) -> None:
    """What was held and not captured in time is released. Source: spec, Webhooks, EXPIRE."""
    if payment["state"] != "authorised" or payment["is_closed"] or payment["captured"]:
        return
    about = _unasked(payment, objects.new_psp_reference(), payment["amount"])
    result = call.recorded("void", about, payment, amount=payment["amount"])
    call.moved(result, payment, "void", by_acquirer=True)
    payment["is_closed"] = True
    objects.put(call.db, "payment", payment)
    call.tell("EXPIRE", payment, success=True)


def _call(db: sqlite3.Connection, about: Json, terms: Terms) -> Call | None:
    account = accounts.of(db, about["account"])
    return None if account is None else Call(db, account, terms)
