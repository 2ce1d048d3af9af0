"""The connection to Temporal, and the workers on it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, GrpcCompression
from temporalio.service import RPCError, RPCStatusCode, TLSConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.attempting import Attempting
from activities.options import owner_queue
from activities.reconciling import Reconciling
from activities.resolving import Resolving
from activities.resuming import Resuming
from activities.reviewing import Reviewing
from payonce.claims import Claimant
from payonce.legs import Legs
from payonce.logging import get_logger
from payonce.paying import Numbers
from payonce.reconciling.reading import Reconciler
from payonce.replays import Replays
from payonce.runtime import Runtime
from payonce.settings import Settings, SettingsWrong, blaming
from payonce.standing import Cases
from payonce.storage.driver.database import words_of
from workers import visits
from workers.build import build_id
from workers.converter import data_converter
from workflows.acceptance import AcceptanceWorkflow
from workflows.callback import CallbackWorkflow
from workflows.payment import PaymentWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow
from workflows.review import ReviewWorkflow

TASK_QUEUE = "payments"
WORKFLOWS: Sequence[type] = (
    PaymentWorkflow,
    RefundWorkflow,
    AcceptanceWorkflow,
    ReversalWorkflow,
    CallbackWorkflow,
    ReviewWorkflow,
    ReconciliationWorkflow,
)
GRACEFUL_SHUTDOWN = timedelta(seconds=25)  # a call takes 20 s at most
# With the default of 10 s a capture waited 10 s for a killed cache holder.
STICKY_TIMEOUT = timedelta(seconds=1)
CACHED_WORKFLOWS_MIN = 1_000  # open authorizations stay in the cache; it also caps eager starts
OWNER_ACTIVITIES_MAX = 100
BACKGROUND_ACTIVITIES_MAX = 100
CONNECT_RETRIES, CONNECT_RETRY_S = 60, 1.0
DESCRIBE_TIMEOUT = timedelta(seconds=5)

log = get_logger(__name__)


async def connect(settings: Settings) -> Client:
    """A client, as soon as Temporal answers and has the namespace.

    Raises `SettingsWrong` after about a minute without it, and at once for files that are no PEM.
    """
    why = ""
    for attempt in range(CONNECT_RETRIES):
        try:
            client = await client_of(settings)
            await _ask_for_namespace(client)
            return client
        except (RPCError, RuntimeError) as error:
            why = _why(error, settings)
            log.warning("temporal_not_there_yet", attempt=attempt + 1, error=why)
            await asyncio.sleep(CONNECT_RETRY_S)
    raise SettingsWrong(why)


async def _ask_for_namespace(client: Client) -> None:
    """Returns where Temporal has it. A worker asks too, and ends with a traceback while the API already listens."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    await client.workflow_service.describe_namespace(request, timeout=DESCRIBE_TIMEOUT)


def _why(error: Exception, settings: Settings) -> str:
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return f"PAYONCE_TEMPORAL_NAMESPACE: Temporal has none that is called {settings.temporal_namespace!r}"
    return f"PAYONCE_TEMPORAL_ADDRESS: Temporal does not answer at {settings.temporal_address}: {words_of(error)}"


async def client_of(settings: Settings) -> Client:
    """A client, where Temporal answers now. Raises `RPCError`, `RuntimeError` or `SettingsWrong`."""
    api_key = settings.temporal_api_key
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=None if api_key is None else api_key.get_secret_value(),
        tls=_tls_of(settings),
        data_converter=data_converter,
        grpc_compression=GrpcCompression.NONE,  # costs more than it saves beside the server
    )


def _tls_of(settings: Settings) -> TLSConfig | bool:
    """How Temporal proves who it is, and we to it; the files are read at each call. False: no TLS."""
    if not settings.temporal_has_tls:
        return False
    return TLSConfig(
        server_root_ca_cert=_pem("PAYONCE_TEMPORAL_TLS_CA", settings.temporal_tls_ca),
        domain=settings.temporal_tls_server_name,
        client_cert=_pem("PAYONCE_TEMPORAL_TLS_CERT", settings.temporal_tls_cert),
        client_private_key=_pem("PAYONCE_TEMPORAL_TLS_KEY", settings.temporal_tls_key),
    )


def _pem(variable: str, path: Path | None) -> bytes | None:
    """The file's content. Raises `SettingsWrong` where it cannot be read, or is no PEM."""
    if path is None:
        return None
    with blaming(variable):
        content = path.read_bytes()
    if b"-----BEGIN " not in content:
        raise SettingsWrong(f"{variable}: the file is no PEM")
    return content


@asynccontextmanager
async def serving_api(runtime: Runtime) -> AsyncIterator[Client]:
    """The API's client, with a worker on it for eager starts and one for the attempts that only we may send."""
    client = await connect(runtime.settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_payments_worker(runtime, client))
        await stack.enter_async_context(_owner_worker(runtime, client))
        yield client


@asynccontextmanager
async def serving_worker(runtime: Runtime) -> AsyncIterator[Client]:
    """A dedicated worker's client: takeovers, timers, inquiries, and what was not started eagerly."""
    client = await connect(runtime.settings)
    async with _payments_worker(runtime, client):
        yield client


def _payments_worker(runtime: Runtime, client: Client) -> Worker:
    """As many slots of each kind as payments under way: an eager start needs both and a place in the cache."""
    visits.leave_out()
    slots = runtime.settings.in_flight_max
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        build_id=build_id(),
        workflows=WORKFLOWS,
        activities=_activities(runtime),
        workflow_runner=UnsandboxedWorkflowRunner(),  # replay tests use the sandbox
        max_concurrent_workflow_tasks=slots,
        max_concurrent_local_activities=slots,
        max_concurrent_activities=BACKGROUND_ACTIVITIES_MAX,
        max_cached_workflows=max(CACHED_WORKFLOWS_MIN, slots),
        nonsticky_to_sticky_poll_ratio=0.5,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        disable_eager_activity_execution=False,
    )


def _owner_worker(runtime: Runtime, client: Client) -> Worker:
    return Worker(
        client,
        task_queue=owner_queue(runtime.rights.owner),
        build_id=build_id(),
        activities=[_attempting(runtime).authorize],
        max_concurrent_activities=OWNER_ACTIVITIES_MAX,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


def _activities(runtime: Runtime) -> list[Any]:
    attempting = _attempting(runtime)
    accounts = runtime.accounts
    cases = Cases(runtime.database, runtime.ids, accounts.capabilities, accounts.identities)
    legs = Legs(runtime.database, accounts, owner=runtime.rights.owner, sealer=runtime.sealer)
    replays = Replays(recorder=runtime.recorder, accounts=accounts)
    resolving = Resolving(
        cases=cases, recorder=runtime.recorder, accounts=accounts, legs=legs, replays=replays
    )
    resuming = Resuming(cases=cases, legs=legs, recorder=runtime.recorder, accounts=accounts)
    reviewing = Reviewing(cases=cases, recorder=runtime.recorder)
    reconciling = Reconciling(Reconciler(runtime))
    return [
        attempting.authorize,
        attempting.capture,
        attempting.void,
        attempting.refund,
        attempting.undo,
        attempting.accept,
        resolving.inquire,
        resolving.hear,
        resolving.reverse,
        resolving.reverse_late,
        resolving.expire,
        resolving.give_up,
        resolving.call_operator,
        resuming.resume,
        reviewing.look_at_review,
        reviewing.escalate_review,
        reconciling.accounts_with_lists,
        reconciling.reconcile,
    ]


def _attempting(runtime: Runtime) -> Attempting:
    return Attempting(
        rights=runtime.rights,
        claimant=Claimant(
            runtime.database,
            runtime.rights,
            runtime.accounts,
            sealer=runtime.sealer,
            pages=runtime.return_pages,
        ),
        recorder=runtime.recorder,
        accounts=runtime.accounts,
        fail_over=runtime.database.fail_over,
        numbers=Numbers(runtime.database, runtime.vault),
    )
