"""The link that a UPI app opens. Source: NPCI, UPI Linking Specifications 1.6, §1.2."""

from urllib.parse import quote

NOTE_MAX = 80  # apps cut or refuse longer ones


def upi_uri(
    *, payee_vpa: str, payee_name: str, reference: str, amount_minor: int, currency: str, note: str | None
) -> str:
    """`upi://pay?…`; `reference` comes back in the rail's records, letters and digits only, up to 35."""
    parameters = {
        "pa": quote(payee_vpa, safe="@"),  # apps expect the address as people write it
        "pn": quote(payee_name, safe=""),
        "tr": reference,
        "am": f"{amount_minor // 100}.{amount_minor % 100:02d}",
        "cu": currency,
        "tn": quote((note or f"Payment to {payee_name}")[:NOTE_MAX], safe=""),
    }
    return "upi://pay?" + "&".join(f"{name}={value}" for name, value in parameters.items())
