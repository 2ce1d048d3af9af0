"""Kills or stops the process it is loaded into, once, exactly where a test has armed it.

Not a hook of the product: tests put this folder on the PYTHONPATH of its processes. Without the variable
TESTS_FAULTS_FOLDER nothing is touched. With it, that folder holds one file for each armed fault, named
`<kind>.<point>.<payment id>`; its words are the process id that is meant, the action and how many faults act
together. Where the last of those arrives, each leaves a file `….reached` and then the process acts.

The points, in order:
  admitted      the request is committed, Temporal knows nothing of it
  handed_over   Temporal has it
  before_claim  the attempt's activity begins
  before_send   it is claimed and committed, not one byte is sent
  after_check   the last check was passed, the next statement writes to the socket (the residue of design rule 9)
  after_send    the acquirer answered, nothing is recorded
  after_record  the outcome is committed, nobody is woken
Those of a callback, in order:
  before_inbox  it is verified, nothing is committed
  received      it is in the inbox, nobody is told
  spoken        the workflow has the signal, the inbox does not know it
"""

import asyncio
import os
import signal
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "lazily": None}
_TOGETHER_WITHIN_S = 4.0  # the right to send lasts 5 s
_BODY_STARTED = "http11.send_request_body.started"
_current: ContextVar[Any] = ContextVar("current_call", default=None)


class _Faults:
    """The armed faults of this process, and how many of each point have been reached."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrived: Counter[str] = Counter()
        self._acted: set[str] = set()

    async def meet(self, kind: str, point: str, payment_id: str) -> str | None:
        """Acts here; of those that act together, the last to arrive does. Returns the action, if there is one."""
        if (armed := self._take(kind, point, payment_id)) is None:
            return None
        action, together = armed
        deadline = asyncio.get_running_loop().time() + _TOGETHER_WITHIN_S
        if self._arrived[point] == together:
            self._act(point, action)
        while point not in self._acted and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        return action

    def meet_at_once(self, kind: str, point: str, payment_id: str) -> bool:
        """Acts here, without a turn of the event loop. True when it did."""
        if (armed := self._take(kind, point, payment_id)) is None:
            return False
        self._act(point, armed[0])
        return True

    def _take(self, kind: str, point: str, payment_id: str) -> tuple[str, int] | None:
        armed = self._folder / f"{kind}.{point}.{payment_id}"
        try:
            pid, action, together = armed.read_text().split()
            if int(pid) != os.getpid():
                return None
            armed.rename(armed.with_name(armed.name + ".arrived"))
        except FileNotFoundError:
            return None
        self._arrived[point] += 1
        return action, int(together)

    def _act(self, point: str, action: str) -> None:
        self._acted.add(point)
        for arrived in self._folder.glob(f"*.{point}.*.arrived"):
            arrived.rename(arrived.with_suffix(".reached"))
        if number := _ACTIONS[action]:
            os.kill(os.getpid(), number)


def _install(faults: _Faults) -> None:
    _install_at_the_wire(faults)
    _install_at_temporal(faults)
    _install_at_the_inbox(faults)


def _replace(owner: Any, **functions: Any) -> None:
    """The owner, a class or a module, has these functions from now on. Each name must have been there."""
    for name, function in functions.items():
        getattr(owner, name)
        setattr(owner, name, function)


def _install_at_the_inbox(faults: _Faults) -> None:
    from workers.dispatch import Dispatcher
    from workers.inbox import Inbox

    receive, hand_over, spoke = Inbox.receive, Inbox.hand_over, Dispatcher.acquirer_spoke

    async def _receive(self: Any, connector: str, callback: Any, **accounts: Any) -> None:
        await faults.meet("callback", "before_inbox", callback.reference.rpartition("-")[0])
        await receive(self, connector, callback, **accounts)

    async def _hand_over(self: Any, *received: Any) -> None:
        await faults.meet("callback", "received", received[0].reference.rpartition("-")[0])
        await hand_over(self, *received)

    async def _spoke(self: Any, operation: Any, reference: str) -> bool:
        running = await spoke(self, operation, reference)
        await faults.meet("callback", "spoken", operation.payment_id)
        return running

    _replace(Inbox, receive=_receive, hand_over=_hand_over)
    _replace(Dispatcher, acquirer_spoke=_spoke)


def _install_at_temporal(faults: _Faults) -> None:
    from workers.dispatch import Dispatcher

    start_payment, start_refund = Dispatcher.start_payment, Dispatcher.start_refund
    start_acceptance = Dispatcher.start_acceptance
    update_payment = Dispatcher.update_payment

    async def _start_payment(self: Any, payment: Any, **how: Any) -> Any:
        if await faults.meet("authorize", "admitted", payment.id) == "lazily":
            how["eager"] = False
        began = await start_payment(self, payment, **how)
        await faults.meet("authorize", "handed_over", payment.id)
        return began

    async def _start_refund(self: Any, payment: Any, refund: Any, **how: Any) -> Any:
        await faults.meet("refund", "admitted", payment.id)
        began = await start_refund(self, payment, refund, **how)
        await faults.meet("refund", "handed_over", payment.id)
        return began

    async def _start_acceptance(self: Any, payment: Any, acceptance: Any, **how: Any) -> Any:
        await faults.meet("accept", "admitted", payment.id)
        began = await start_acceptance(self, payment, acceptance, **how)
        await faults.meet("accept", "handed_over", payment.id)
        return began

    async def _update_payment(self: Any, payment: Any, operation: Any, **how: Any) -> Any:
        await faults.meet(operation.kind, "admitted", payment.id)
        return await update_payment(self, payment, operation, **how)

    _replace(
        Dispatcher,
        start_payment=_start_payment,
        start_refund=_start_refund,
        start_acceptance=_start_acceptance,
        update_payment=_update_payment,
    )


def _install_at_the_wire(faults: _Faults) -> None:
    from activities.attempting import Attempting
    from payonce.connectors import http
    from payonce.connectors.adyen.connector import Adyen
    from payonce.connectors.razorpay.connector import Razorpay
    from payonce.connectors.sandbox.card import SandboxCard
    from payonce.connectors.stripe.connector import Stripe
    from payonce.recording import recorder

    attempt, store = Attempting._attempt, recorder._until_stored
    sends = {connector: connector.send for connector in (SandboxCard, Stripe, Razorpay, Adyen)}
    trace = http._Sending.trace

    async def _attempt(self: Any, request: Any) -> Any:
        await faults.meet(request.kind, "before_claim", request.payment_id)
        return await attempt(self, request)

    async def _send(self: Any, call: Any, *, may_send: Any) -> Any:
        await faults.meet(call.kind, "before_send", call.payment_id)
        token = _current.set(call)
        try:
            reply = await sends[type(self)](self, call, may_send=may_send)
        finally:
            _current.reset(token)
        await faults.meet(call.kind, "after_send", call.payment_id)
        return reply

    async def _trace(self: Any, event: str, info: Any) -> None:
        await trace(self, event, info)
        call = _current.get()
        if event == _BODY_STARTED and call is not None:
            faults.meet_at_once(call.kind, "after_check", call.payment_id)

    async def _store(once: Any, subject: Any) -> Any:
        recorded = await store(once, subject)
        await faults.meet(recorded.settled.operation.kind, "after_record", subject.payment_id)
        return recorded

    _replace(Attempting, _attempt=_attempt)
    for connector in sends:
        _replace(connector, send=_send)
    _replace(recorder, _until_stored=_store)
    _replace(http._Sending, trace=_trace)


if folder := os.environ.get("TESTS_FAULTS_FOLDER"):
    _install(_Faults(Path(folder)))
