"""What the acquirer does by itself after its answer: undone, redone, foreign, captured late."""

import signal
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from acquirer_process import Acquirer, Body, answered, eventually

from devstack.acquirer import faults


async def _inquired(acquirer: Acquirer, reference: str) -> Body:
    return answered(await acquirer.inquire(reference))


async def _has_history(acquirer: Acquirer, reference: str, count: int) -> Body:
    """What an inquiry says once so much has become of the operation."""

    async def has() -> bool:
        return len((await _inquired(acquirer, reference))["history"]) >= count

    await eventually(has)
    return await _inquired(acquirer, reference)


async def _is_past(acquirer: Acquirer) -> None:
    """Whatever was to happen to earlier operations within 1 s has happened: something later has, in order."""
    probe = await acquirer.authorize(
        payment_reference="pay_probe", capture=True, faults=["authorize:undo_capture:1"]
    )
    await _has_history(acquirer, probe["reference"], 1)


def _told(history: list[Body]) -> list[tuple[str, str, int]]:
    return [(entry["type"], entry["operation"], entry["amount"]) for entry in history]


def _moved(entries: list[Body]) -> list[tuple[str, str, int]]:
    return [(entry["operation"], entry["origin"], entry["amount"]) for entry in entries]


def _seconds(earlier: Body, later: Body) -> float:
    times = [datetime.fromisoformat(entry["created_at"]) for entry in (earlier, later)]
    return (times[1] - times[0]).total_seconds()


@pytest.mark.parametrize(("capture", "stage"), [(True, "captured"), (False, "authorized")])
async def test_an_authorization_says_how_far_it_went(acquirer: Acquirer, capture: bool, stage: str) -> None:
    answer = await acquirer.authorize(capture=capture)
    assert (answer["stage"], answer["history"]) == (stage, [])
    assert await _inquired(acquirer, answer["reference"]) == answer


async def test_other_operations_have_no_stage_and_leave_the_authorizations(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize()
    for path, more in (("/captures", {"final": False}), ("/voids", {}), ("/refunds", {})):
        order = acquirer.order(authorization=authorization["id"], amount=9, **more)
        answer = answered(await acquirer.post(path, order))
        assert (answer["stage"], answer["history"]) == (None, [])
    assert (await _inquired(acquirer, authorization["reference"]))["stage"] == "authorized"


async def test_authorized_only_is_not_captured_until_it_is_asked_for(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:authorized_only"])
    assert (answer["status"], answer["stage"], answer["amount"]) == ("approved", "authorized", 1099)
    assert await acquirer.moved(answer["reference"]) == ["authorize"]
    order = acquirer.order(authorization=answer["id"], final=True)
    assert answered(await acquirer.post("/captures", order))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == ["capture"]


@pytest.mark.parametrize("rail", ["upi", "wallet"])
async def test_a_rail_captures_by_itself_what_it_authorized_only(acquirer: Acquirer, rail: str) -> None:
    ask = acquirer.ask_by_upi if rail == "upi" else acquirer.ask_by_wallet
    order = await ask(faults=["authorize:authorized_only"])
    assert (order["status"], order["stage"], order["history"]) == ("pending", None, [])
    approved = answered(await acquirer.decide("approve", rail=rail))
    assert (approved["status"], approved["stage"]) == ("approved", "authorized")
    assert await acquirer.moved(order["reference"]) == ["authorize"]

    async def is_captured() -> bool:
        return bool((await _inquired(acquirer, order["reference"]))["stage"] == "captured")

    await eventually(is_captured)
    assert (await _inquired(acquirer, order["reference"]))["history"] == []
    authorized, captured = await acquirer.ledger(reference=order["reference"])
    assert (captured["operation"], captured["origin"], captured["amount"]) == ("capture", "payonce", 1099)
    assert _seconds(authorized, captured) == 3


@pytest.mark.parametrize("how", ["reversed", "voided", "captured"])
async def test_a_rail_does_not_capture_what_somebody_else_took_or_gave_back(
    acquirer: Acquirer, how: str
) -> None:
    order = await acquirer.ask_by_upi(faults=["authorize:authorized_only"])
    await acquirer.decide("approve")
    modification = acquirer.order(authorization=order["id"], amount=1)
    if how == "reversed":
        await acquirer.reverse(order["reference"])
    elif how == "voided":
        await acquirer.post("/voids", modification)
    else:
        await acquirer.post("/captures", {**modification, "final": False})
    late = await acquirer.ask_by_upi(payment_reference="pay_2", faults=["authorize:authorized_only"])
    await acquirer.decide("approve", payment="pay_2")

    async def is_captured() -> bool:
        return bool((await _inquired(acquirer, late["reference"]))["stage"] == "captured")

    await eventually(is_captured)  # so the first one's time is past, too
    assert (await _inquired(acquirer, order["reference"]))["stage"] == "authorized"
    assert await acquirer.moved(order["reference"]) == ["authorize"]


async def test_the_capture_of_an_automatic_payment_is_undone_redone_and_undone_again(
    acquirer: Acquirer,
) -> None:
    script = ["authorize:undo_capture:1", "authorize:redo_capture:1", "authorize:undo_capture:1"]
    answer = await acquirer.authorize(capture=True, faults=script)
    found = await _has_history(acquirer, answer["reference"], 3)
    assert (found["status"], found["stage"]) == ("approved", "captured")
    history = found["history"]
    assert _told(history) == [(type, "capture", 1099) for type in ("undone", "redone", "undone")]
    assert [entry["reason"] for entry in history] == ["rejected_by_scheme", None, "rejected_by_scheme"]
    assert {entry["currency"] for entry in history} == {"INR"}
    assert len({entry["id"] for entry in history}) == 3
    entries = await acquirer.ledger(reference=answer["reference"])
    assert _moved(entries) == [
        ("authorize", "payonce", 1099),
        ("capture", "payonce", 1099),
        ("undo", "acquirer", 1099),
        ("capture", "acquirer", 1099),
        ("undo", "acquirer", 1099),
    ]
    assert [entry.get("of") for entry in entries] == [None, None, entries[1]["id"], None, entries[3]["id"]]
    assert ["of" in entry for entry in entries] == [False, False, True, False, True]
    assert [_seconds(*pair) for pair in pairwise(entries[1:])] == [1, 1, 1]


async def test_a_capture_is_undone_and_its_authorization_says_nothing_of_it(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize()
    order = acquirer.order(
        authorization=authorization["id"], amount=300, final=False, faults=["capture:undo_capture:1"]
    )
    capture = answered(await acquirer.post("/captures", order))
    found = await _has_history(acquirer, capture["reference"], 1)
    assert _told(found["history"]) == [("undone", "capture", 300)]
    captured, undone = await acquirer.ledger(reference=capture["reference"])
    assert (undone["operation"], undone["of"], undone["amount"]) == ("undo", captured["id"], 300)
    assert (await _inquired(acquirer, authorization["reference"]))["history"] == []


async def test_a_refund_comes_back(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize(capture=True)
    order = acquirer.order(authorization=authorization["id"], amount=99, faults=["refund:undo_refund:1"])
    await acquirer.post("/refunds", order)
    found = await _has_history(acquirer, order["reference"], 1)
    assert _told(found["history"]) == [("undone", "refund", 99)]
    assert found["history"][0]["reason"] == "returned_by_bank"
    refunded, undone = await acquirer.ledger(reference=order["reference"])
    assert (undone["operation"], undone["origin"], undone["of"]) == ("undo", "acquirer", refunded["id"])


async def test_what_was_reversed_meanwhile_is_not_undone(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(
        capture=True, faults=["authorize:undo_capture:1", "authorize:foreign_refund:5"]
    )
    await acquirer.reverse(answer["reference"])
    await _is_past(acquirer)
    found = await _inquired(acquirer, answer["reference"])
    assert (found["status"], found["history"]) == ("reversed", [])
    assert await acquirer.moved(answer["reference"]) == ["authorize", "capture"]


async def test_an_undone_capture_that_is_reversed_moves_nothing_and_is_not_redone(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize()
    order = acquirer.order(authorization=authorization["id"], final=True)
    await acquirer.post(
        "/captures", {**order, "faults": ["capture:undo_capture:0", "capture:redo_capture:1"]}
    )
    await _has_history(acquirer, order["reference"], 1)
    assert (await acquirer.reverse(order["reference"]))["status"] == "already_reversed"
    await _is_past(acquirer)
    assert await acquirer.moved(order["reference"]) == ["capture", "undo"]
    assert "reversal" not in [entry["operation"] for entry in await acquirer.ledger()]


async def test_an_authorization_without_its_capture_still_stands_and_is_reversed(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:undo_capture:0"])
    await _has_history(acquirer, answer["reference"], 1)
    assert (await acquirer.reverse(answer["reference"]))["status"] == "reversed"


async def test_a_redo_without_an_undo_does_nothing(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:redo_capture:0"])
    await _is_past(acquirer)
    assert (await _inquired(acquirer, answer["reference"]))["history"] == []


async def test_more_than_was_captured_is_refunded_in_the_dashboard(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:foreign_refund:5000"])
    found = await _has_history(acquirer, answer["reference"], 1)
    assert _told(found["history"]) == [("foreign", "refund", 5000)]
    assert found["history"][0]["reason"] == "dashboard"
    assert found["history"][0]["id"].startswith("ref_")
    _, captured, refunded = await acquirer.ledger(reference=answer["reference"])
    assert (refunded["operation"], refunded["origin"], refunded["amount"]) == ("refund", "acquirer", 5000)
    assert _seconds(captured, refunded) == 1


async def test_a_refund_in_the_dashboard_after_a_capture_is_the_authorizations(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize()
    order = acquirer.order(authorization=authorization["id"], final=True, faults=["capture:foreign_refund:7"])
    await acquirer.post("/captures", order)
    found = await _has_history(acquirer, authorization["reference"], 1)
    assert _told(found["history"]) == [("foreign", "refund", 7)]
    assert (await _inquired(acquirer, order["reference"]))["history"] == []
    assert await acquirer.moved(authorization["reference"]) == ["authorize", "refund"]


async def test_what_is_left_is_captured_in_the_dashboard(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(faults=["authorize:foreign_capture"])
    for path, more in (("/captures", {"final": False}), ("/voids", {})):
        await acquirer.post(path, acquirer.order(authorization=answer["id"], amount=100, **more))
    found = await _has_history(acquirer, answer["reference"], 1)
    assert _told(found["history"]) == [("foreign", "capture", 899)]
    assert found["history"][0]["id"].startswith("cap_")
    assert found["stage"] == "authorized"  # it was not this order that captured
    authorized, captured = await acquirer.ledger(reference=answer["reference"])
    assert (captured["operation"], captured["origin"]) == ("capture", "acquirer")
    assert _seconds(authorized, captured) == 1


async def test_what_was_captured_in_the_dashboard_is_not_captured_again(acquirer: Acquirer) -> None:
    script = ["authorize:authorized_only", "authorize:foreign_capture"]
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi", faults=script)
    capture = acquirer.order(authorization=order["id"], amount=9, final=False)
    await _has_history(acquirer, order["reference"], 1)
    await acquirer.post(
        "/captures", {**capture, "faults": ["capture:foreign_capture", "capture:undo_capture:3"]}
    )
    await _has_history(acquirer, capture["reference"], 1)  # so the rail's own capture would have been, too
    assert _told((await _inquired(acquirer, order["reference"]))["history"]) == [("foreign", "capture", 1099)]
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


async def test_nothing_that_is_left_is_captured_by_nobody(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:foreign_capture"])
    await _is_past(acquirer)
    assert (await _inquired(acquirer, answer["reference"]))["history"] == []


async def test_the_script_of_a_rail_counts_from_its_own_late_capture(acquirer: Acquirer) -> None:
    script = ["authorize:authorized_only", "authorize:undo_capture:1", "authorize:foreign_refund:3"]
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi", faults=script)
    found = await _has_history(acquirer, order["reference"], 2)
    assert _told(found["history"]) == [("undone", "capture", 1099), ("foreign", "refund", 3)]
    entries = await acquirer.ledger(reference=order["reference"])
    assert [entry["operation"] for entry in entries] == ["authorize", "capture", "undo", "refund"]
    assert _seconds(entries[0], entries[1]) == 3
    assert _seconds(entries[1], entries[2]) == 1


async def test_what_was_due_while_it_was_down_has_happened_at_its_time(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(
        capture=True, faults=["authorize:undo_capture:1", "authorize:redo_capture:0"]
    )
    await acquirer.stop(signal.SIGKILL)
    await acquirer.start()
    found = await _has_history(acquirer, answer["reference"], 2)
    assert _told(found["history"]) == [("undone", "capture", 1099), ("redone", "capture", 1099)]
    _, captured, undone, redone = await acquirer.ledger(reference=answer["reference"])
    assert (_seconds(captured, undone), _seconds(undone, redone)) == (1, 0)


async def test_a_request_sent_again_sets_its_script_off_once(acquirer: Acquirer) -> None:
    body = acquirer.authorization(capture=True, faults=["authorize:undo_capture:0"])
    for _ in range(3):
        await acquirer.post("/authorizations", body)
    await _is_past(acquirer)
    assert await acquirer.moved(body["reference"]) == ["authorize", "capture", "undo"]


async def test_a_declined_one_has_nothing_to_come(acquirer: Acquirer) -> None:
    script = ["authorize:undo_capture:0", "authorize:foreign_refund:1", "authorize:foreign_capture"]
    answer = await acquirer.authorize(number="4000000000000002", capture=True, faults=script)
    await _is_past(acquirer)
    assert (answer["stage"], await acquirer.moved(answer["reference"])) == (None, [])


async def test_a_member_that_is_refused_for_ever_moves_nothing(acquirer: Acquirer) -> None:
    pointer = "/card/number"
    body = acquirer.authorization(faults=[f"authorize:refuse:{pointer}"])
    response = await acquirer.post("/authorizations", body)
    assert response.status_code == 400
    assert response.json() == {
        "error": "refused",
        "pointer": pointer,
        "detail": "this value is refused and always will be",
    }
    assert (await acquirer.inquire(body["reference"])).status_code == 404
    assert await acquirer.ledger() == []
    assert (await acquirer.requests())[0]["answer"] == "400 refused"


KNOWN = [
    *("authorized_only", "foreign_capture", "undo_capture:0", "undo_capture:86400", "redo_capture:1"),
    *("undo_refund:30", "foreign_refund:1", f"foreign_refund:{2**53 - 1}"),
    *("refuse:/amount", "refuse:/billing/address/lines/0"),
]
UNKNOWN = [
    *("undo_capture", "undo_capture:", "undo_capture:86401", "undo_capture:-1", "undo_capture:1.5"),
    *("foreign_refund", "foreign_refund:0", f"foreign_refund:{2**53}", "foreign_capture:1"),
    *("refuse", "refuse:", "refuse:amount", "refuse:/", "refuse:/4242424242424242", "authorized_only:1"),
]


@pytest.mark.parametrize("operation", faults.OPERATIONS)
def test_every_operation_knows_every_fault(operation: str) -> None:
    assert [fault for fault in KNOWN if not faults.is_known(f"{operation}:{fault}")] == []
    assert [fault for fault in UNKNOWN if faults.is_known(f"{operation}:{fault}")] == []


async def test_a_script_of_another_operation_is_not_set_off(acquirer: Acquirer) -> None:
    script: dict[str, Any] = {"faults": ["capture:undo_capture:0", "refund:undo_refund:0"]}
    answer = await acquirer.authorize(capture=True, **script)
    await _is_past(acquirer)
    assert (await _inquired(acquirer, answer["reference"]))["history"] == []
