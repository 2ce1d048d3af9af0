"""All the providers of a merchant are asked at once, and have 80 ms together.

Who has not answered by then is not waited for. So that a provider that hangs costs nobody but its merchant, only so
many of a merchant's asks are open at once in a process: beyond that none but the built-in rules is asked, which is no
answer. Those are one call to Redis that ends with the 80 ms: whoever makes many payments at once, and whatever
service hangs beside them, does not switch them off.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.risk import (
    ASKED_WITHIN_S,
    REASON_MAX_LENGTH,
    REASONS_MAX,
    Assessment,
    Policy,
    RiskVerdict,
    unanswered,
    worst,
)
from payonce.domain.risk_rules import PROVIDER
from payonce.logging import get_logger
from payonce.metrics import RISK_ANSWERED, RISK_ASKED, RISK_UNANSWERED
from payonce.risk.base import NotAsked, RiskProvider, RiskView
from payonce.risk.rules import without_counts

OPEN_MAX: Final = 50  # of one merchant in one mode, in one process; the built-in rules apart

log = get_logger(__name__)


class Assessor:
    """Asks the providers of one process."""

    def __init__(
        self,
        providers: Mapping[str, RiskProvider],
        *,
        within_s: float = ASKED_WITHIN_S,
        open_max: int = OPEN_MAX,
    ) -> None:
        self._providers = providers
        self._within_s, self._open_max = within_s, open_max
        self._open: Counter[tuple[str, str]] = Counter()
        self._asking: set[asyncio.Task[Assessment]] = set()

    async def ask(self, view: RiskView, policy: Policy) -> Assessment | None:
        """The worst verdict that there is; None where one is missing and the merchant admits nothing then.

        What lists say, and rules that need no counts, holds although nobody answers.
        """
        asked = policy.providers
        answered = await self._answers(view, policy)
        missing = [name for name in asked if name not in answered]
        said = [answered[name] for name in asked if name in answered]
        if PROVIDER in missing:
            said.append(without_counts(view, policy.options.get(PROVIDER, {})))
        found = worst(said)
        if missing and (found is None or found.verdict is not RiskVerdict.BLOCK):
            instead = unanswered(policy.choices, provider=missing[0])
            found = None if instead is None else worst([*filter(None, (found,)), instead])
        RISK_ASKED.labels("none" if found is None else found.verdict.value).inc()
        return found

    async def close(self) -> None:
        """Whoever is still asked is left alone; the providers are closed."""
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking, timeout=1)
        for provider in self._providers.values():
            await provider.close()

    async def _answers(self, view: RiskView, policy: Policy) -> Mapping[str, Assessment]:
        """Of those who answered in time, by their names."""
        tasks = {name: self._begin(name, view, policy) for name in self._admitted(view, policy)}
        if not tasks:
            return {}
        try:
            await asyncio.wait(tasks.values(), timeout=self._within_s)
        finally:
            for task in tasks.values():
                task.cancel()
        said = {name: self._said(name, task, view) for name, task in tasks.items()}
        return {name: assessment for name, assessment in said.items() if assessment is not None}

    def _admitted(self, view: RiskView, policy: Policy) -> Sequence[str]:
        """Who is asked: all, or the built-in rules alone where too many of the merchant's asks are open."""
        bounded = [name for name in policy.providers if name != PROVIDER]
        if self._open[view.merchant_id, view.mode] + len(bounded) <= self._open_max:
            return policy.providers
        for name in bounded:
            RISK_UNANSWERED.labels(name, "busy").inc()
        return [name for name in policy.providers if name == PROVIDER]

    def _begin(self, name: str, view: RiskView, policy: Policy) -> asyncio.Task[Assessment]:
        """Open until it has ended, whether anybody waits for it or not."""
        whose, counts = (view.merchant_id, view.mode), name != PROVIDER

        def ended(task: asyncio.Task[Assessment]) -> None:
            self._asking.discard(task)
            self._open[whose] -= counts
            if not self._open[whose]:
                del self._open[whose]
            if not task.cancelled():
                task.exception()  # looked at, so that nobody warns of it

        task = asyncio.create_task(self._ask(name, view, policy))
        self._asking.add(task)
        self._open[whose] += counts
        task.add_done_callback(ended)
        return task

    async def _ask(self, name: str, view: RiskView, policy: Policy) -> Assessment:
        return await self._providers[name].ask(view, policy.options.get(name, {}))

    def _said(self, name: str, task: asyncio.Task[Assessment], view: RiskView) -> Assessment | None:
        """The answer, where there is one that can be taken for one."""
        if (why := _why_not(task)) is None:
            RISK_ANSWERED.labels(name).inc()
            return task.result()
        RISK_UNANSWERED.labels(name, why).inc()
        if why not in ("busy", "left_alone"):  # said of each that failed before
            error = task.exception() if why == "failed" else None
            code = getattr(error, "code", None if error is None else type(error).__name__)
            log.warning(
                "risk_not_answered", provider=name, reason=why, error=code, merchant_id=view.merchant_id
            )
        return None


def _why_not(task: asyncio.Task[Assessment]) -> str | None:
    """Why there is no answer; None: there is one."""
    if not task.done() or task.cancelled():
        return "late"
    if (error := task.exception()) is not None:
        return error.why if isinstance(error, NotAsked) else "failed"
    return None if is_possible(task.result()) else "wrong"


def is_possible(said: object) -> bool:
    """Whether it is a verdict with texts that may be kept and shown: short, printable, and no card number."""
    if not isinstance(said, Assessment) or not isinstance(said.verdict, RiskVerdict):
        return False
    if not isinstance(said.reasons, tuple) or len(said.reasons) > REASONS_MAX:
        return False
    texts = said.reasons if said.provider is None else (*said.reasons, said.provider)
    return all(map(_is_short, texts))


def _is_short(text: object) -> bool:
    fits = isinstance(text, str) and 1 <= len(text) <= REASON_MAX_LENGTH and text.isprintable()
    return fits and not looks_like_card_number(str(text))
