"""What answers and webhooks say. Source of the members: spec, and its examples."""

from datetime import datetime, timedelta

from devstack.acquirer.adyen.errors import Json
from devstack.acquirer.upi_uri import upi_uri


def payment_answer(payment: Json) -> Json:
    """Source: spec, `PaymentResponse`, examples `post-payments-card-direct-200`, `…-details-00.redirect-200`."""
    answer: Json = {
        "pspReference": payment["psp"],
        "merchantReference": payment["reference"],
        "amount": {"currency": payment["currency"], "value": payment["amount"]},
        "paymentMethod": {"type": payment["type"], "brand": payment["variant"]},
    }
    if payment["state"] == "waiting":
        return answer | {"resultCode": "Pending"}
    if payment["state"] == "authorised":
        return answer | {"resultCode": "Authorised", "additionalData": _additional(payment)}
    refused = payment["refused"]
    return answer | {
        "resultCode": refused["result"],
        "refusalReason": refused["reason"],
        "refusalReasonCode": refused["code"],
        "additionalData": {"refusalReasonRaw": f"{refused['code']} : {refused['reason']}"},
    }


def _additional(payment: Json) -> Json:
    """Source: spec, `ResponseAdditionalDataCommon`, `…DataCard`, `…Data3DSecure`: texts, all of them."""
    data = {
        "acquirerCode": "TestPmmAcquirer",
        "acquirerReference": payment["psp"][:11],
        "authCode": payment["auth_code"],
        "refusalReasonRaw": "AUTHORISED",
    }
    if payment["kind"] == "upi":
        return data
    data |= {
        "avsResult": "4 AVS not supported for this card type",
        "avsResultRaw": "4",
        "cvcResult": "1 Matches",
        "cvcResultRaw": "M",
        "networkTxReference": payment["network_reference"],
        "threeDAuthenticated": "true" if payment["is_authenticated"] else "false",
        "threeDOffered": "true" if payment["is_authenticated"] else "false",
        "liabilityShift": "true" if payment["is_authenticated"] else "false",
    }
    if payment["is_authenticated"]:
        data["eci"] = "02" if payment["variant"] == "mc" else "05"
    if payment.get("exemption") is not None:
        data["scaExemptionRequested"] = payment["exemption"]
    card = payment["card"]
    if card is not None:
        data |= {
            "cardBin": card["bin"],
            "cardPaymentMethod": payment["variant"],
            "cardSummary": card["last"],
            "expiryDate": card["expiry"],
            "fundingSource": "CREDIT",
            "paymentMethodVariant": payment["variant"],
        }
    return data


def approval_reason(payment: Json) -> str:
    """Source: spec, Webhooks, the example of AUTHORISATION."""
    card = payment["card"]
    return str(payment["auth_code"]) + ("" if card is None else f":{card['last']}:{card['expiry']}")


def webhook_data(payment: Json) -> dict[str, str]:
    """What else an AUTHORISATION says; none of it is signed."""
    wanted = ("authCode", "cardSummary", "expiryDate", "networkTxReference", "liabilityShift", "eci")
    data = _additional(payment)
    return {name: data[name] for name in wanted if name in data}


def upi_action(payment: Json, token: str, *, at: datetime, window_s: int) -> Json:
    """Source: spec, `CheckoutQrCodeAction`, `CheckoutAwaitAction`."""
    link = upi_uri(
        payee_vpa="adyen@payonce",
        payee_name=payment["account"],
        reference=payment["psp"],
        amount_minor=payment["amount"],
        currency=payment["currency"],
        note=None,
    )
    action: Json = {"paymentMethodType": payment["type"], "paymentData": token}
    if payment["type"] == "upi_qr":
        expires_at = (at + timedelta(seconds=window_s)).isoformat(timespec="seconds")
        return action | {"type": "qrCode", "qrCodeData": link, "expiresAt": expires_at}
    return action | ({"type": "await", "url": link} if payment["type"] == "upi_intent" else {"type": "await"})


def modification_answer(modification: Json) -> Json:
    """Source: spec, the responses of the five modifications: `status` is always `received`."""
    answer: Json = {
        "merchantAccount": modification["account"],
        "pspReference": modification["psp"],
        "status": "received",
    }
    if modification["given_reference"] is not None:
        answer["reference"] = modification["given_reference"]
    if modification["operation"] == "technical_cancel":
        return answer | {"paymentReference": modification["payment_named"]}
    answer["paymentPspReference"] = modification["payment"]
    if modification["operation"] in ("capture", "refund"):
        answer["amount"] = {"currency": modification["currency"], "value": modification["amount"]}
    return answer
