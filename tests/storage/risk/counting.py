"""A shop whose payments are counted in Redis and in Postgres."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from api.admission.admission import Admission
from api.admission.requests import NewPayment
from api.admission.waiting import Result
from payonce.connectors.base import Call, MaySend
from payonce.domain.facts import Approved, DeclineCode, Declined
from payonce.domain.risk import Policy
from payonce.recording.recorder import Recorder
from payonce.risk.asking import Assessor
from payonce.risk.counts import VelocityCounts
from payonce.risk.outcomes import RiskOutcomes
from payonce.risk.rules import RuleBook
from payonce.storage.merchants import Caller
from tests.storage.acting import FakeConnector, stage_of
from tests.storage.admitting import NEW, Shop, post
from tests.storage.ledger import IDS
from tests.storage.paying_saved import TAKES_SAVED
from tests.storage.vault.saving import a_vault
from tests.support.eventually import eventually

BUYER = replace(NEW, customer={"id": "c-1", "email": "Ada@Example.org"})


@dataclass
class Issuer(FakeConnector):
    """Approves, or declines all."""

    capabilities: Any = TAKES_SAVED
    declines: bool = False
    heard: int = 0

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        assert may_send()
        self.heard += 1
        if self.declines:
            return Declined(DeclineCode.INSUFFICIENT_FUNDS)
        return Approved(f"acq-{call.reference}", call.amount_minor, call.currency, stage=stage_of(call))


@dataclass
class Counting(Shop):
    """A shop whose merchant has the default rules, and saves cards in the vault."""

    redis: Any = None
    connector: Any = field(default_factory=Issuer)
    policy: Policy = field(default_factory=lambda: Policy(providers=("rules",)))
    within_s: float = 5.0
    mended_after_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        database = self.ledger.database
        self.counts = VelocityCounts(self.redis, database, mended_after_s=self.mended_after_s)
        outcomes = RiskOutcomes(self.runtime.risk_subjects, self.counts)
        recorder = Recorder(self.ledger.database, IDS, self.runtime.wakeups, risk=outcomes)
        self.assessor = Assessor({"rules": RuleBook(self.counts)}, within_s=self.within_s)
        self.runtime = replace(self.runtime, risk=self.assessor, recorder=recorder, vault=a_vault())
        self.admission = Admission(self.runtime, self.temporal)

    def asked(self, new: NewPayment, key: str) -> Coroutine[Any, Any, Result]:
        """What the API does with the request."""
        caller = Caller(
            self.ledger.merchant_id, "test", key_id="key_1", risk=self.policy, card_storage="vault"
        )
        return self.admission.create_payment(replace(post(self.ledger, key), caller=caller), new)

    async def paid(self, new: NewPayment = BUYER, *, key: str = "k", reaches: bool = True) -> dict[str, Any]:
        """As its merchant is answered; `reaches` an acquirer."""
        self.payment_id = IDS.payment(merchant_id=self.ledger.merchant_id, mode="test", key=key)
        granted, self.rights.granted = 1, 0
        asked = asyncio.create_task(self.asked(new, key))
        if reaches:

            async def is_granted() -> bool:
                if asked.done():
                    await asked
                return asked.done() or self.rights.granted == granted

            await eventually(is_granted)
            if not asked.done():
                await self.run()
        result: Result = await asked
        assert result.answer is not None
        shown: dict[str, Any] = json.loads(result.answer.body)
        return shown


async def settled(shop: Counting) -> None:
    """What became of its payments is in Redis."""

    async def told() -> bool:
        return not shop.counts._working

    await eventually(told)
