"""Faults of the sandbox acquirer, as a request's metadata names them."""

import re

import pytest

from devstack.acquirer import faults
from payonce.connectors.sandbox.switches import parse_faults

PREFIXED = re.compile("|".join(f"{operation}:" for operation in faults.OPERATIONS))


@pytest.mark.parametrize(
    "text",
    [
        "timeout_after_charge",
        "slow:250",
        "capture:garbage,void:amount_mismatch",
        "error_before_charge,capture:rate_limited,void:redirect,refund:html,inquire:other_answer",
        "inquire:error_after_charge",
        "timeout_before_charge,refund:slow:1",
        "authorized_only",
        "undo_capture:0,redo_capture:86400,capture:undo_capture:7",
        "refund:undo_refund:1,undo_refund:2",
        "foreign_refund:1,foreign_refund:9007199254740991",
        "foreign_capture,capture:foreign_capture",
        "refuse:/card/number,capture:refuse:/amount,refuse:/lines/0",
        "cancel:error_after_charge",
        "unmade,refund:unmade",
    ],
)
def test_faults_that_exist(text: str) -> None:
    entries = text.split(",")
    assert parse_faults(text) == tuple(entries)
    full = [entry if PREFIXED.match(entry) else f"authorize:{entry}" for entry in entries]
    assert all(faults.is_known(entry) for entry in full)  # the acquirer has them, too


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "nonsense",
        "slow",
        "slow:",
        "slow:-1",
        "slow:1s",
        "slow:\u0661",
        "pay:garbage",
        "capture:",
        "capture:capture:garbage",
        "garbage,,garbage",
        "gar\nbage",
        "GARBAGE",
        ",".join(["garbage"] * 17),
        "undo_capture",
        "undo_capture:",
        "undo_capture:-1",
        "undo_capture:86401",
        "undo_refund:1s",
        "redo_capture:\u0661",
        "foreign_refund:0",
        "foreign_refund:9007199254740992",
        "foreign_capture:1",
        "authorized_only:1",
        "refuse",
        "refuse:",
        "refuse:card",
        "refuse:/",
        "refuse:/Card",
        "refuse:/lines/123",
        "refuse:/" + "a" * 33,
        "refuse:" + "/a" * 9,
        "refuse:" + "/abcdefgh" * 6,
    ],
)
def test_faults_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_faults(text)
