"""Recorded histories replay with today's workflows, and a change that histories do not know is noticed."""

import base64
import json
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from tests.replay.histories import CARD, FOLDER, NAMES, card_data, load, read, texts
from tests.replay.mutants import Impatient, Reading
from workers.converter import data_converter
from workers.temporal import WORKFLOWS
from workers.webhooks.dispatch import WEBHOOK_WORKFLOWS

EVERY_WORKFLOW = (*WORKFLOWS, *WEBHOOK_WORKFLOWS)
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))


def replayer(*workflows: type) -> Replayer:
    """Runs workflows in the sandbox, as production does not: what it forbids fails here."""
    return Replayer(
        workflows=workflows, workflow_runner=SandboxedWorkflowRunner(), data_converter=data_converter
    )


@pytest.mark.parametrize("name", FILES)
async def test_a_recorded_history_replays(name: str) -> None:
    await replayer(*EVERY_WORKFLOW).replay_workflow(load(name))


async def test_a_run_from_before_that_was_suggested_to_end_and_went_on_replays() -> None:
    """The code that recorded it did not know how to begin anew, so that its run did not."""
    document = read("manual_with_two_captures")
    for event in document["events"]:
        if "workflowTaskStartedEventAttributes" in event:
            event["workflowTaskStartedEventAttributes"]["suggestContinueAsNew"] = True
    await replayer(*EVERY_WORKFLOW).replay_workflow(WorkflowHistory.from_json("pay_1", document))


def test_every_named_history_is_recorded() -> None:
    assert set(NAMES) <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_no_history_holds_card_data(name: str) -> None:
    assert list(card_data(read(name))) == []


@pytest.mark.parametrize("name", FILES)
def test_no_history_names_the_machine_that_recorded_it(name: str) -> None:
    assert not [text for text in texts(read(name)) if "@" in text and not text.startswith("process@machine")]


@pytest.mark.parametrize("name", FILES)
def test_no_history_says_where_it_was_recorded(name: str) -> None:
    """A failure's stack trace holds paths, and replaying needs none."""
    recorded = (FOLDER / f"{name}.json").read_text()
    places = [f"/{folder}/" for folder in ("site-packages", "root", "home", "work")]
    assert not [place for place in places if place in recorded]


@pytest.mark.parametrize(
    "text", [f"paid with {CARD['number']}", "4242 4242 4242 4242", '{"cvc":"1"}', '{"a":"973"}']
)
def test_card_data_is_found_wherever_it_is(text: str) -> None:
    payload = {"events": [{"input": {"payloads": [{"data": base64.b64encode(text.encode()).decode()}]}}]}
    assert list(card_data(payload)) == [text]
    assert list(card_data({"events": [{"summary": text}]})) == [text]


def test_the_histories_cover_what_workflows_do() -> None:
    recorded = {workflow_type(load(name)) for name in NAMES}
    assert recorded == {defined.__name__ for defined in EVERY_WORKFLOW}
    done = {name for document in map(read, FILES) for name in activity_types(document)}
    needed = {
        "authorize",
        "capture",
        "void",
        "refund",
        "accept",
        "inquire",
        "hear",
        "reverse",
        "reverse_late",
        "expire",
    }
    assert needed <= done
    assert {"deliver", "redeliver_page", "look_at_review"} <= done


@pytest.mark.parametrize("name", ["automatic", "manual_with_two_captures", "expiry"])
async def test_a_workflow_that_does_something_else_fails_the_replay(name: str) -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replayer(Impatient).replay_workflow(load(name))


async def test_the_sandbox_is_on() -> None:
    with pytest.raises(Exception, match="open"):
        await replayer(Reading).replay_workflow(load("automatic"))


def workflow_type(history: WorkflowHistory) -> str:
    return history.events[0].workflow_execution_started_event_attributes.workflow_type.name


def activity_types(document: Any) -> set[str]:
    """The activities that the history ran, local ones by what their markers say."""
    found = set()
    for event in document["events"]:
        if scheduled := event.get("activityTaskScheduledEventAttributes"):
            found.add(scheduled["activityType"]["name"])
    for text in texts(document):
        if (
            text.startswith("{")
            and isinstance(marker := json.loads(text), dict)
            and "activity_type" in marker
        ):
            found.add(marker["activity_type"])
    return found
