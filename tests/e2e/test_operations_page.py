"""Every query, statement and command of the operations page does on a running stack what the page says."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from devstack.__main__ import operators_environ
from devstack.seed import NAMES
from devstack.stack import DevStack
from devstack.state import write_json
from payonce.cli.base import ENVIRON_JSON
from tests.e2e import operations_page
from tests.e2e.merchant import Body, Merchant, answered, card, fresh_key
from tests.support.eventually import eventually
from tests.support.forks import ran
from tests.support.pictures import drawn

WITHIN_S = 60.0
OF_THE_SHELL = re.compile(r"[|&;<>$`*?(){}~\\[\]!]")
ISSUERS = "issuers.csv"
LOGO = "logo.png"
REVIEWED_WITHIN_S = 90.0
PASSES_WITHIN_S = 15.0  # less than what passes lasts
PLACE_OF_TIME = "'2026-01-31T12:00:00Z'"
LONG_UNKNOWN = "timeout_before_charge"  # about half a minute: until "not found" is final
# What the query of each question must list: the ids of `Scene.ids`.
LISTED = {
    "One payment with its refunds": {"bounced", "refund"},
    "Stuck: no outcome yet, started more than 5 minutes ago": {"unknown"},
    "Which customers may still act": {"asked"},
    "Refunds, reversals and acceptances of disputes that hang": {"hanging"},
    "One merchant's payments that failed": {"declined"},
    "Payments that failed for one reason": {"declined"},
    "Runs that ended badly, whatever became of the payment": {"terminated"},
    "Waiting for a capture": {"authorized"},
    "What hangs at one acquirer": {"unknown"},
    "Large ones in a currency": {"large"},
    "What is in review": {"review of a capture", "review of a refund"},
    "… for one reason": {"review of a capture", "review of a refund"},
    "… of one payment": {"review of a refund"},
    "Webhooks that are stuck": {"delivery"},
    "… of one endpoint": {"delivery"},
    "By method": {"authorized"},
}


@dataclass(frozen=True)
class Scene:
    """A stack on which there is something for every question, and a checkout beside it."""

    directory: Path
    temporal_address: str
    ids: dict[str, str]

    async def run(self, line: str) -> str:
        """What the command line printed, as it stands on the page but for its placeholders; nothing is set for it."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-ec", self.filled(line)),
            cwd=self.directory,
            env={
                **environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}",
                "TEMPORAL_ADDRESS": self.temporal_address,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(WITHIN_S):
            out, errors = await process.communicate()
        assert process.returncode == 0, f"{line}: {errors.decode()}"
        return out.decode()

    async def typed(self, line: str) -> str:
        """The same; `payonce` is forked where the shell would only have split the words."""
        program, *arguments = shlex.split(self.filled(line))
        if program != "payonce" or OF_THE_SHELL.search(line):
            return await self.run(line)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
        ended = await ran(program, *arguments, environ=environ, directory=self.directory, within_s=WITHIN_S)
        assert ended.status == 0, f"{line}: {ended.error}"
        return ended.out

    async def listed(self, query: str) -> set[str]:
        """The ids of the workflows that the query lists."""
        filled = self.filled(query).replace('"', '\\"')
        found = await self.run(f'temporal workflow list --limit 1000 --output json --query "{filled}"')
        return {one["execution"]["workflowId"] for one in json.loads(found)}

    def filled(self, text: str) -> str:
        """The text with ids and times in the places of `…`."""
        review = self.ids["review of a refund" if " paid " in text else "review of a capture"]
        now = datetime.now(UTC)
        for place, value in {
            "pay_…": self.ids["bounced"],
            "mer_…": self.ids["merchant"],
            "key_…": self.ids["key"],
            "we_…": self.ids["endpoint"],
            "op_…": review.removeprefix("review-"),
            "8815…": "881500",
            "import FILE": f"import {ISSUERS}",
            "--logo LOGO": f"--logo {LOGO}",
            "--since …": f"--since {now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "--why …": "--why 'their settlement report'",
            f"< {PLACE_OF_TIME}": f"< '{now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}'",
            f"> {PLACE_OF_TIME}": f"> '{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}'",
        }.items():
            text = text.replace(place, value)
        assert "…" not in text, f"nothing is known to put in: {text}"
        return text


@pytest.fixture(scope="module")
async def scene(
    stack: DevStack, shop: Merchant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("checkout")
    (directory / ENVIRON_JSON).parent.mkdir()
    (directory / ISSUERS).write_text("first,last,country\n400000,400099,FR\n")
    (directory / LOGO).write_bytes(drawn(8, 8))
    write_json(directory / ENVIRON_JSON, operators_environ(stack))
    places = ("bounced", "merchant", "key", "endpoint", "review of a refund", "review of a capture")
    made = Scene(directory, stack.temporal_address, dict.fromkeys(places, ""))
    made.ids.update(await of_operators(made))
    made.ids.update(await of_merchants(made, shop))
    yield made
    await shop.client.delete(
        f"/v1/webhook_endpoints/{made.ids['endpoint']}", headers={"Idempotency-Key": fresh_key()}
    )


async def of_operators(scene: Scene) -> dict[str, str]:
    """The first merchant, and a key of theirs that nobody needs."""
    listed = (await scene.typed("payonce merchants list --json")).splitlines()
    (merchant,) = [one["id"] for one in map(json.loads, listed) if one["name"] == NAMES[0]]
    key = json.loads(await scene.typed(f"payonce keys create --merchant {merchant} --mode test --json"))
    return {"merchant": merchant, "key": key["id"]}


async def of_merchants(scene: Scene, shop: Merchant) -> dict[str, str]:
    """One of everything that the page has a question about."""
    to_nobody = {"url": "http://127.0.0.1:8080/nobody", "events": ["payment.voided"]}
    endpoint = answered(await shop.post("/v1/webhook_endpoints", to_nobody), 201)
    await shop.voided(await shop.authorized())
    declined = answered(await shop.pay(payment_method=card("4000000000009995")), 402)["payment"]
    terminated = await shop.authorized()
    await scene.run(f"temporal workflow terminate --workflow-id {terminated['id']}")
    undone = await shop.paid(metadata={"sandbox_fault": "undo_capture:1"})
    await shop.paid(metadata={"sandbox_risk": "review"})  # held for a person
    bounced = await shop.paid()
    refund = await shop.refunded(bounced, amount=99, metadata={"sandbox_fault": "undo_refund:1"})
    made = {
        "endpoint": endpoint,
        "declined": declined,
        "terminated": terminated,
        "bounced": bounced,
        "refund": refund,
        "authorized": await shop.authorized(),
        "large": await shop.paid(amount=10_000_000),
    }
    delivery = f"WorkflowType = 'WebhookDeliveryWorkflow' AND EndpointId = '{endpoint['id']}'"
    return {
        **{name: one["id"] for name, one in made.items()},
        "delivery": await only(scene, delivery),
        "review of a capture": await only(scene, review_of(undone)),
        "review of a refund": await only(scene, review_of(bounced)),
    }


def review_of(payment: Body) -> str:
    return f"WorkflowType = 'ReviewWorkflow' AND PaymentId = '{payment['id']}'"


async def only(scene: Scene, query: str) -> str:
    """The one workflow that the query lists, once it does."""

    async def found() -> set[str]:
        return await scene.listed(query)

    (id_,) = await eventually(found, REVIEWED_WITHIN_S)
    return id_


async def pass_by(scene: Scene, shop: Merchant) -> None:
    """What is so for half a minute only: a payment and a refund in doubt, and a customer who may act."""
    fault = {"sandbox_fault": LONG_UNKNOWN}
    paid = await shop.paid()
    unknown, hanging, asked = await asyncio.gather(
        shop.pay(metadata=fault),
        shop.refund(paid, {"amount": 99, "metadata": fault}),
        shop.paid(payment_method={"type": "upi", "upi": {"flow": "intent"}}),
    )
    scene.ids["unknown"] = answered(unknown, 202)["id"]
    scene.ids["hanging"] = answered(hanging, 202)["id"]
    scene.ids["asked"] = asked["id"]


async def test_every_question_of_the_page_finds_what_it_asks_for(scene: Scene, shop: Merchant) -> None:
    questions = operations_page.questions()
    assert questions.keys() == LISTED.keys()

    async def finds(question: str) -> bool:
        expected = {scene.ids[name] for name in LISTED[question]}
        return expected <= await scene.listed(questions[question])

    passing = [question for question, names in LISTED.items() if names & {"unknown", "hanging", "asked"}]

    async def finds_what_passes() -> bool:  # on a slow machine it has passed before it was looked for
        await pass_by(scene, shop)
        for question in passing:
            await eventually(lambda question=question: finds(question), PASSES_WITHIN_S)
        return True

    await eventually(finds_what_passes, 180.0)
    for question in LISTED.keys() - set(passing):
        await eventually(lambda question=question: finds(question))


async def test_a_payment_that_was_not_declined_is_not_listed_as_failed(scene: Scene) -> None:
    for question in ("One merchant's payments that failed", "Payments that failed for one reason"):
        listed = await scene.listed(operations_page.questions()[question])
        assert not listed & {scene.ids[name] for name in ("authorized", "large", "bounced", "refund")}


@pytest.mark.timeout(900)
async def test_every_command_of_the_page_works_in_a_checkout_without_any_variable(scene: Scene) -> None:
    commands = operations_page.commands()
    assert len({command.split()[0] for command in commands}) == 2, "payonce and temporal"
    await scene.run(commands[0])
    for command in commands:
        await scene.typed(command)


async def test_every_other_query_of_the_page_finds_something(scene: Scene) -> None:
    (decide,) = [line for line in operations_page.commands() if "decide op_… approved" in line]
    await scene.typed(decide)

    async def finds(query: str) -> bool:
        return bool(await scene.listed(query))

    queries = operations_page.other_queries()
    assert len(queries) >= 2
    for query in queries:
        await eventually(lambda query=query: finds(query))


@pytest.mark.parametrize("statement", operations_page.statements(), ids=lambda text: text[:40])
async def test_every_statement_of_the_page_runs_on_the_database(stack: DevStack, statement: str) -> None:
    url = stack.database_url.replace("+psycopg", "", 1)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        if "ROLE" in statement or "GRANT" in statement:
            await connection.execute("CREATE ROLE payonce")
        await connection.execute(statement.replace("…", "payonce").encode())
        await connection.rollback()
