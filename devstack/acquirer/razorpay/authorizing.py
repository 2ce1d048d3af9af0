"""What becomes of a payment: the bank approves, declines or says nothing, it is captured, or goes back by itself.

Source: payments/payments ("Payment Life Cycle"); payments/payments/late-authorisation; payments/payments/
capture-settings/api; payments/refunds/auto-refunds; payments/orders ("Order States").
"""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from devstack.acquirer import faults, movements, turns
from devstack.acquirer.movements import Stage
from devstack.acquirer.razorpay import failures, objects, shapes, wishes
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.failures import Failure
from devstack.acquirer.razorpay.objects import Stored

MANUAL_EXPIRY_MINUTES = 7200  # capture-settings/api: default and maximum of `manual_expiry_period`
TIMES_OUT_MINUTES = 10  # late-authorisation: without an answer of the bank the payment is failed


def waits(call: Call, payment: Stored) -> None:
    """The payment waits for customer and bank, and times out by itself.

    Source: late-authorisation: `created` for ten minutes, then `failed`; s2s/payment-methods/upi/collect:
    `expiry_time`, in minutes.
    """
    minutes = payment.aside.get("expiry_minutes") or TIMES_OUT_MINUTES
    call.due("times_out", payment, at=call.minutes_after(payment, minutes))


def answered(call: Call, payment: Stored, *, is_approved: bool) -> None:
    """The customer's answer holds, if the payment still waits; a silent bank leaves it so."""
    if payment.body["status"] != "created" or wishes.bank_is_silent(payment.aside["notes"]):
        return
    if is_approved:
        approved(call, payment)
    else:
        failed(call, payment, _failure(payment))


def timed_out(call: Call, payment: Stored) -> None:
    """Nobody heard of the bank: it failed for now. What the bank says later may still come."""
    if payment.body["status"] != "created":
        return
    is_collected = payment.body.get("upi", {}).get("flow") == "collect"
    failed(call, payment, failures.COLLECT_EXPIRED if is_collected else failures.TIMED_OUT)
    after_s = wishes.answers_late_after_s(payment.aside["notes"])
    if after_s is not None:
        call.due("late", payment, at=call.now + timedelta(seconds=after_s))


def failed(call: Call, payment: Stored, failure: Failure) -> None:
    """The payment failed, and says why; its order can be attempted again. Source: api/payments/entity, "Failure"."""
    payment.body |= {"status": "failed", **failure.members()}
    call.recorded(
        movements.new_id("authorize"),
        "authorize",
        payment,
        amount=payment.body["amount"],
        decline_code=failure.reason,
    )
    call.put(payment)
    call.happened("payment.failed", payment=payment)


def approved(call: Call, payment: Stored) -> None:
    """Money is held, late perhaps, and taken too where the order says so.

    Source: late-authorisation/handle: a late one of an order that is paid is refunded immediately;
    s2s/test-s2s/best-practices/payment-states-and-late-authorisation: `failed` may become `authorized`, with
    `late_authorized`, and is captured where that is automatic.
    """
    if payment.body["status"] not in ("created", "failed"):
        return
    is_late = payment.body["status"] == "failed"
    entries = payment.aside["entries"]
    call.terms = replace(call.terms, amount_added=payment.aside["amount_added"], entries=tuple(entries))
    order = call.get("order", payment.body["order_id"])
    is_duplicate = order.body["status"] == "paid"
    captures = (
        not is_duplicate and not faults.authorizes_only(entries) and _captures_itself(call, order, payment)
    )
    stage = Stage.CAPTURED if captures else Stage.AUTHORIZED
    result = call.recorded(payment.id, "authorize", payment, amount=payment.body["amount"], stage=stage)
    call.moved(result, payment, "authorize", *(["capture"] if captures else []))
    turns.planned(call.db, payment.id, entries, at=call.now)
    payment.body |= {"status": "authorized", "amount": result["amount"], **_numbers(call, payment)}
    if is_late:
        payment.body["late_authorized"] = True
    call.put(payment)
    call.happened("payment.authorized", payment=payment)
    if captures:
        captured(call, payment, order)
    elif is_duplicate:
        lapsed(call, payment)
    else:
        call.due("lapses", payment, at=_lapses_at(call, order, payment))


def captured(call: Call, payment: Stored, order: Stored) -> None:
    """Payment and order say so, and events do. Source: webhooks/payments, "payment.captured vs order.paid".

    Source of fee and tax: api/payments/entity, set once it is captured; how much is a *guess*.
    """
    amount = payment.body["amount"]
    fee = amount // 50
    payment.body |= {"status": "captured", "captured": True, "fee": fee, "tax": fee * 18 // 118}
    order.body |= {
        "status": "paid",
        "amount_paid": amount,
        "amount_due": max(0, order.body["amount"] - amount),
    }
    call.put(payment)
    call.put(order)
    call.happened("payment.captured", payment=payment)
    call.happened("order.paid", payment=payment, order=order)


def lapsed(call: Call, payment: Stored) -> None:
    """What nobody captured went back: a refund that Razorpay made, of a payment that was never captured.

    Source: payments/refunds/auto-refunds: a refund entity, `captured` stays false, at normal speed; webhooks/refunds:
    the same events as of any refund. That the payment's status is `refunded` is a *guess*. In the ledger it is a
    `void`: no capture is undone by it.
    """
    if payment.body["status"] != "authorized":
        return
    amount = payment.body["amount"]
    call.terms = replace(call.terms, amount_added=0)
    result = call.recorded(movements.new_id("void"), "void", payment, amount=amount, authorization=payment.id)
    call.moved(result, payment, "void", by_acquirer=True)
    own_id = objects.new_id("rfnd")
    body = shapes.refund(own_id, payment.body, {}, amount=amount, created=call.seconds, status="processed")
    refund = Stored(own_id, body, {name: payment.aside[name] for name in ("reference", "payment_reference")})
    payment.body |= {"status": "refunded", "amount_refunded": amount, "refund_status": "full"}
    call.put(refund)
    call.put(payment)
    call.happened("refund.created", refund=refund, payment=payment)
    call.happened("refund.processed", refund=refund, payment=payment)


def _captures_itself(call: Call, order: Stored, payment: Stored) -> bool:
    """Source: capture-settings/api: an order's settings before the account's; automatic until its period is over."""
    settings = order.aside["capture"] or {"capture": call.account.capture}
    if settings["capture"] != "automatic":
        return False
    minutes = settings.get("capture_options", {}).get("automatic_expiry_period")
    return minutes is None or call.now <= call.minutes_after(payment, minutes)


def _lapses_at(call: Call, order: Stored, payment: Stored) -> datetime:
    options = (order.aside["capture"] or {}).get("capture_options", {})
    return call.minutes_after(payment, options.get("manual_expiry_period", MANUAL_EXPIRY_MINUTES))


def _failure(payment: Stored) -> Failure:
    """What Failure on the bank's page leads to."""
    match payment.body["method"]:
        case "card":
            return failures.BY_REASON[payment.aside["failure"]]
        case "wallet":
            return failures.WALLET_FAILED
        case _ if payment.aside["vpa"] == failures.FAILS:
            return failures.UPI_FAILED
        case _:
            return failures.UPI_FAILURES_BY_AMOUNT.get(payment.body["amount"], failures.UPI_DECLINED)


def _numbers(call: Call, payment: Stored) -> dict[str, object]:
    method = payment.body["method"]
    if method == "upi":
        rrn = movements.given_rrn(call.db, payment.id, call.now)
    else:
        rrn = f"{secrets.randbelow(10**12):012d}"
    return shapes.approved(method, number=f"{secrets.randbelow(10**6):06d}", rrn=rrn)
