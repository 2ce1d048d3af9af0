"""The currencies that a payment may have: every country's money of ISO 4217."""

from typing import Final

from iso4217 import raw_xml

# Indexed or accounting units that the list does not mark as funds.
_UNITS_OF_ACCOUNT = frozenset({"UYW", "XAD"})
_NO_MINOR_UNIT = "N.A."  # metals, SDR, bond market units, XTS and XXX


def _money() -> frozenset[str]:
    """The codes with a minor unit that are not funds."""
    codes = set()
    for entry in raw_xml.iter("CcyNtry"):
        name, code, minor = (entry.find(tag) for tag in ("CcyNm", "Ccy", "CcyMnrUnts"))
        if name is None or code is None or code.text is None or minor is None:
            continue  # a territory without a currency of its own
        if name.get("IsFund") != "true" and minor.text != _NO_MINOR_UNIT:
            codes.add(code.text.strip())
    return frozenset(codes - _UNITS_OF_ACCOUNT)


CURRENCIES: Final = _money()
