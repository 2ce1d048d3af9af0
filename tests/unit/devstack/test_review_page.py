"""The operations page says of every review why, until when, and what may be decided."""

import re

import pytest

from devstack.parts import CHECKOUT
from payonce.domain.decisions import Verdict
from payonce.domain.reviews import ReviewReason


def section() -> str:
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    return page.split("## When a payment needs review")[1].split("\n## ")[0]


@pytest.mark.parametrize("reason", ReviewReason)
def test_every_reason_is_on_the_page_with_its_due_time(reason: ReviewReason) -> None:
    (row,) = re.findall(rf"^\| `{reason}` \|.*$", section(), re.MULTILINE)
    hours = int(reason.due_after.total_seconds() // 3600)
    assert row.split(" | ")[2] == f"{hours} h"


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_on_the_page(verdict: Verdict) -> None:
    assert re.search(rf"^\|[^|]*\|[^|]*`{verdict}`[^|]*\|", section(), re.MULTILINE)
