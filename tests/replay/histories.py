"""The recorded histories as files: how they are written and read, and what must not be in them."""

import base64
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

FOLDER = Path(__file__).parent / "histories"
NAMES = (
    "automatic",
    "declined",
    "manual_with_two_captures",
    "void",
    "expiry",
    "refund",
    "dispute_accepted",
    "unknown_outcome_found",
    "unknown_outcome_not_found",
    "unknown_capture_found",
    "amount_mismatch_reversed",
    "authorized_then_captured",
    "authorized_then_released",
    "takeover_sent_by_the_owner",
    "takeover_without_the_owner",
    "resumed_after_terminate",
    "late_success_reversed",
    "webhook_delivered",
    "webhook_dropped",
    "webhook_recovered",
    "customer_paid",
    "customer_declined",
    "customer_never_asked_again",
    "customer_abandoned",
    "customer_paid_after_the_void",
    "customer_left_alone",
    "customer_expired_and_paid",
    "customer_heard_of_late",
    "callback_heard_again",
    "began_anew",
    "followed_a_long_run",
    "review_ended_by_a_fact",
    "reconciled",
    "challenge_passed",
    "soft_decline_stepped_up",
    "challenge_by_a_leg",
)
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "973"}

_DIGITS = re.compile(r"\d(?:[ -]?\d){11,}")
_SECURITY_CODE = re.compile(r'(?<![a-z0-9])cv[cv](?![a-z0-9])|"973"', re.IGNORECASE)  # not within a random id


def path_of(name: str) -> Path:
    """The file of the history."""
    return FOLDER / f"{name}.json"


def write(name: str, history: WorkflowHistory) -> None:
    """The history is in its file, one member a line, without the recording machine's name.

    Raises `AssertionError`, and writes nothing, for card data.
    """
    process = re.compile(rf"\d+@{re.escape(socket.gethostname())}")
    document = json.loads(process.sub("process@machine", history.to_json()))
    assert not list(card_data(document)), f"the history {name} holds card data"
    path_of(name).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read(name: str) -> dict[str, Any]:
    """The history as JSON, as the Temporal CLI and the Web UI write it."""
    document: dict[str, Any] = json.loads(path_of(name).read_text())
    return document


def load(name: str) -> WorkflowHistory:
    """The history as the replayer takes it."""
    document = read(name)
    started = document["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], document)


def card_data(document: Any) -> Iterator[str]:
    """Every text that holds the card's whole number or a security code; payloads are looked into."""
    for text in texts(document):
        numbers = (re.sub(r"\D", "", found) for found in _DIGITS.findall(text))
        if any(str(CARD["number"]) in number for number in numbers) or _SECURITY_CODE.search(text):
            yield text


def texts(value: Any) -> Iterator[str]:
    """The names and texts of the document, down to the bottom; of a payload what it holds."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from [_decoded(member)] if name == "data" and isinstance(member, str) else texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)
    elif isinstance(value, str):
        yield value


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")
