"""Temporal, as the inbox of callbacks sees it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import RPCError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode


@dataclass
class Temporal:
    """Has the workflows that it is told to have; remembers what they were told."""

    running: set[str] = field(default_factory=set)
    signals: list[tuple[str, str]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    completed: set[str] = field(default_factory=set)
    away: bool = False

    def get_workflow_handle(self, id_: str) -> Any:
        return Handle(self, id_)

    async def start_workflow(
        self,
        *_args: Any,
        id: str,  # its name
        id_reuse_policy: WorkflowIDReusePolicy,
        **_options: Any,
    ) -> None:
        if self.away:
            raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")
        if id in self.running:
            raise WorkflowAlreadyStartedError(id, "a workflow")
        if id in self.completed and id_reuse_policy is not WorkflowIDReusePolicy.ALLOW_DUPLICATE:
            raise WorkflowAlreadyStartedError(id, "a workflow")
        self.started.append(id)


@dataclass
class Handle:
    temporal: Temporal
    id: str

    async def signal(self, _signal: Any, *, args: list[Any], rpc_timeout: timedelta) -> None:
        if self.temporal.away:
            raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")
        if self.id not in self.temporal.running:
            raise RPCError("no such workflow", RPCStatusCode.NOT_FOUND, b"")
        self.temporal.signals.append((self.id, args[1]))
