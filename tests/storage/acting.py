"""A process of ours that carries operations out, and the acquirer that says what a test says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest, Progress
from activities.resolving import Resolving
from activities.resuming import Resuming
from payonce.accounts import Accounts
from payonce.claims import Claimant
from payonce.clock import boot_clock_s
from payonce.connectors.base import Call, Capabilities, ConnectorAccount, MaySend
from payonce.domain.errors import NotSent
from payonce.domain.facts import Cancellation, FailureCode, Reply, Stage
from payonce.domain.operations import Operation, OperationKind, Subject
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.settlement import Settlement
from payonce.legs import Legs
from payonce.recording.recorder import Recorder
from payonce.replays import Replays
from payonce.rights import SEND_WITHIN_S, Right, Rights
from payonce.sealing import Sealer, SealingKey
from payonce.standing import Cases
from payonce.storage.driver.database import Database
from tests.storage.ledger import IDS, Ledger

K, S = OperationKind, PaymentStatus
CAPABILITIES = Capabilities(
    methods=frozenset({"card"}),
    call_deadline_s=10,
    finality_s=10,
    inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
    reversal_by_reference=True,
    accepts_disputes=True,
)
SEALER = Sealer([SealingKey("test", b"s" * 32)])
_ACTIVITIES = {OperationKind.REVERSE: "undo"}  # the others have their kind's name
LONG_AGO = timedelta(minutes=1)  # longer than claim, call and finality take


def stage_of(call: Call) -> Stage | None:
    """As an acquirer that does what it is asked for says it."""
    if call.kind is not OperationKind.AUTHORIZE:
        return None
    return Stage.CAPTURED if call.automatic_capture else Stage.AUTHORIZED


@dataclass
class FakeConnector:
    """One acquirer that answers as told, and remembers what it was asked."""

    answers: dict[str, Reply | Cancellation | Exception] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    legs: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # sent, with what they brought
    capabilities: Capabilities = CAPABILITIES
    before: Callable[[], Any] | None = None
    located: dict[str, str | Exception] = field(default_factory=dict)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        if not may_send():
            raise NotSent
        return await self._answer("send", call)

    async def replay(self, call: Call, *, may_send: MaySend) -> Any:
        """As `Measured` has it."""
        if not may_send():
            raise NotSent
        return await self._answer("replay", call)

    async def inquire(self, call: Call) -> Any:
        return await self._answer("inquire", call)

    async def locate(self, reference: str) -> Any:
        """As `Measured` has it: what the acquirer calls so is about this reference of ours, where a test says it."""
        answer = self.located.get(reference)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reverse(self, call: Call) -> Any:
        return await self._answer("reverse", call)

    async def cancel(self, call: Call) -> Any:
        return await self._answer("cancel", call)

    async def resume(self, call: Call, parameters: Mapping[str, str], *, leg: int, may_send: MaySend) -> Any:
        if not may_send():
            raise NotSent
        self.legs.append((leg, dict(parameters)))
        return await self._answer("resume", call)

    async def _answer(self, name: str, call: Call) -> Any:
        self.calls.append((name, call.reference))
        if self.before is not None:
            await self.before()
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


ACCOUNTS = Accounts(connectors={"account_1": FakeConnector()})


@dataclass
class Process:
    """The activities of one process, and its rights."""

    ledger: Ledger
    connector: Any
    rights: Rights = field(default_factory=Rights)
    identities: dict[str, str | None] = field(default_factory=dict)  # how the acquirer calls each account
    more: dict[str, Any] = field(default_factory=dict)  # connectors of further accounts
    claims_in: Database | None = None  # another pool on the ledger's database, which may be a flaky one

    @property
    def connectors(self) -> dict[str, Any]:
        """By account."""
        return {"account_1": self.connector, **self.more}

    @property
    def opened_accounts(self) -> Accounts:
        accounts = [
            ConnectorAccount(
                id=id_, connector="fake", mode="test", base_url="https://acquirer.example", identity=identity
            )
            for id_, identity in self.identities.items()
        ]
        return Accounts(accounts, self.connectors)

    @property
    def claimant(self) -> Claimant:
        return Claimant(self.claims_in or self.ledger.database, self.rights, self.opened_accounts)

    async def attempt(self, of: Operation, *, local: bool = True, doubted: bool = False) -> Progress:
        attempting = Attempting(
            rights=self.rights,
            claimant=self.claimant,
            recorder=self.ledger.recorder(),
            accounts=self.opened_accounts,
            fail_over=self.ledger.database.fail_over,
        )
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, is_local=local)
        run = getattr(attempting, _ACTIVITIES.get(of.kind, of.kind))
        progress: Progress = await environment.run(run, replace(request(of), doubted=doubted))
        return progress

    async def resolve(
        self,
        name: str,
        of: Operation,
        *more: Any,
        recorder: Any = None,
        not_found: bool = True,
        token: str | None = None,
        aside: bool = False,
    ) -> Any:
        """`not_found`: the acquirer did not know the attempt that is to be reversed."""
        asked = replace(request(of), token=token, aside=aside)
        if (
            name == "reverse"
            and not_found
            and await self.ledger.rows("SELECT 1 FROM attempts WHERE operation_id = :id", id=of.id)
        ):  # the claim that was inquired about is the one that stands
            asked = replace(asked, token=(await self.ledger.latest(of.id)).token)
        return await ActivityEnvironment().run(getattr(self.resolving(recorder), name), asked, *more)

    async def resume(self, of: Operation) -> Progress:
        """What the customer brought back is sent, if it is due."""
        resuming = Resuming(
            cases=self._cases, legs=self.legs, recorder=self.ledger.recorder(), accounts=self.opened_accounts
        )
        progress: Progress = await ActivityEnvironment().run(resuming.resume, request(of))
        return progress

    def resolving(self, recorder: Any = None) -> Resolving:
        recorder = recorder or self.ledger.recorder()
        accounts = self.opened_accounts
        return Resolving(
            cases=self._cases,
            recorder=recorder,
            accounts=accounts,
            legs=self.legs,
            replays=Replays(recorder=recorder, accounts=accounts),
        )

    @property
    def legs(self) -> Legs:
        return Legs(self.ledger.database, self.opened_accounts, owner=self.rights.owner, sealer=SEALER)

    @property
    def _cases(self) -> Cases:
        return Cases(
            self.ledger.database, IDS, self.opened_accounts.capabilities, self.opened_accounts.identities
        )


@dataclass
class Overtaken:
    """A recorder before whose lock something else happens."""

    recorder: Recorder
    first: Callable[[], Awaitable[object]]

    async def give_up(self, subject: Subject, *, code: FailureCode) -> Settlement:
        await self.first()
        return await self.recorder.give_up(subject, code=code)


def request(of: Operation) -> OperationRequest:
    return OperationRequest(of.payment_id, of.id, of.kind)


async def capture_of(ledger: Ledger, **changes: Any) -> Operation:
    return await ledger.add_operation(await ledger.add_payment(S.AUTHORIZED), K.CAPTURE, **changes)


async def age(ledger: Ledger, of: Operation) -> None:
    """The claim is so old that NOT_FOUND proves something."""
    query = "UPDATE attempts SET send_before = send_before - :age WHERE operation_id = :id"
    await ledger.rows(query, age=LONG_AGO, id=of.id)


async def claimed_ago(process: Process, of: Operation, seconds: float) -> None:
    """The operation's attempts were claimed so much earlier."""
    query = "UPDATE attempts SET claimed_at = claimed_at - :ago, send_before = send_before - :ago"
    await process.ledger.rows(f"{query} WHERE operation_id = :id", ago=timedelta(seconds=seconds), id=of.id)


class Stepping:
    """The owner's clock, which waiting moves on, and nothing else."""

    def __init__(self) -> None:
        self.now_s = boot_clock_s()
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.waits.append(delay_s)
        self.now_s += delay_s


async def owned(process: Process, clock: Stepping, **of_call: Any) -> Operation:
    """A create whose right this process holds."""
    create = await process.ledger.add_operation(await process.ledger.add_payment(), K.AUTHORIZE)
    claim = await process.ledger.latest(create.id)
    call = Call(
        kind=K.AUTHORIZE,
        reference=f"{create.id}-1",
        payment_id=create.payment_id,
        amount_minor=create.amount_minor,
        currency=create.currency,
        **of_call,
    )
    deadline = clock() + SEND_WITHIN_S
    process.rights.grant(create.id, Right(call, 1, claim.token, "account_1", deadline, clock))
    return create
