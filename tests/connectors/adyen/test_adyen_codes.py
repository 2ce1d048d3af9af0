"""Every code that Adyen documents has a meaning of ours, or deliberately none."""

import re

from payonce.connectors.adyen import codes
from payonce.domain.facts import DeclineCode
from tests.witnesses.adyen_models import adyen_models

# Source: docs.adyen.com/development-resources/refusal-reasons, "Refusal responses", read 2026-11.
_REFUSAL_REASONS = """
    0 2 3 4 5 6 7 8 9 10 11 12 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 31 32 33 34 35 36 37 38 39 40 41 42 43
    44 45 46
"""
REFUSAL_REASONS = _REFUSAL_REASONS.split()
# Nobody has decided yet, or the customer is to be asked: another acquirer might charge twice, or ask in vain.
UNDECIDED = {"4", "9", "11", "16", "21", "38", "39", "40", "41", "42"}


def test_every_documented_refusal_reason_has_a_meaning() -> None:
    assert set(codes.table()["refusal_reasons"]) == set(REFUSAL_REASONS)
    assert len(REFUSAL_REASONS) == 44
    for code in REFUSAL_REASONS:
        assert codes.heard_of(code)
        assert codes.declined(code, advice=None).where in ("same", "other", "never")
        assert codes.declined(code, advice="21").where == "never"


def test_what_nobody_decided_is_tried_nowhere_else() -> None:
    assert {codes.declined(code, advice=None).where for code in UNDECIDED} == {"same"}


def test_an_unheard_of_reason_is_a_decline_without_one() -> None:
    assert not codes.heard_of("9999")
    meaning = codes.declined("9999", advice=None)
    assert (meaning.code, meaning.where) == (DeclineCode.GENERIC_DECLINE, "same")
    assert codes.declined(None, advice=None).code is DeclineCode.GENERIC_DECLINE


def test_every_result_code_that_adyen_publishes_has_a_row() -> None:
    for name in ("PaymentResponse", "PaymentDetailsResponse"):
        model = adyen_models().model("checkout", name)
        assert model is not None
        assert set(codes.RESULTS) == model.enums["ResultCodeEnum"]
    assert len(codes.RESULTS) == 14
    assert set(codes.RESULTS.values()) == {"approved", "declined", "accepted", "asks", "unasked"}


def test_every_refused_code_names_a_member_of_our_api_or_none() -> None:
    table = codes.table()
    for pointer in table["refused"].values():
        assert re.fullmatch(r"(/[a-z0-9_]+)*", pointer)
    sections = [set(table[name]) for name in ("refused", "rejected", "leg_invalid", "undecided")]
    assert sum(map(len, sections)) == len(set().union(*sections))  # each has one meaning
    assert codes.refused("704") is None
    assert codes.refused(None) is None
