"""Starts the workflows of webhooks: of deliveries that failed, and of jobs.

Their ids are the deliveries' and jobs' own, so starting twice is harmless; a run that was terminated is followed
by another, which goes on from Postgres.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, RPCError
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.webhook_messages import DeliveryRequest, JobRequest
from payonce.domain.errors import NotHandedOver
from payonce.storage.webhooks.handover import HandedOver
from workflows import attributes
from workflows.webhook_delivery import WebhookDeliveryWorkflow
from workflows.webhook_job import WebhookJobWorkflow

WEBHOOKS_QUEUE: Final = "webhooks"
WEBHOOK_WORKFLOWS: Final[Sequence[type]] = (WebhookDeliveryWorkflow, WebhookJobWorkflow)
TASK_TIMEOUT: Final = timedelta(seconds=10)
START_TIMEOUT: Final = timedelta(seconds=2)


class WebhookDispatcher:
    """Hands over by id; Postgres has everything else."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start_delivery(self, delivery: HandedOver) -> bool:
        """The delivery's workflow runs; whether it began now. Raises `NotHandedOver`."""
        request = DeliveryRequest(
            delivery_id=delivery.delivery_id,
            endpoint_id=delivery.endpoint_id,
            event_type=delivery.event_type,
            attempts=delivery.attempts,
            next_attempt_at=delivery.next_attempt_at,
            error=delivery.error,
        )
        return await self._start(
            WebhookDeliveryWorkflow.run,
            request,
            workflow_id=delivery.delivery_id,
            summary=f"{delivery.event_type} to {delivery.endpoint_id}",
            search_attributes=_attributes_of(delivery),
        )

    async def start_job(self, job_id: str) -> None:
        """The job's workflow runs. Raises `NotHandedOver`."""
        await self._start(
            WebhookJobWorkflow.run,
            JobRequest(job_id),
            workflow_id=job_id,
            summary="Events delivered again",
            search_attributes=TypedSearchAttributes.empty,
        )

    async def _start(
        self,
        run: Any,
        request: DeliveryRequest | JobRequest,
        *,
        workflow_id: str,
        summary: str,
        search_attributes: TypedSearchAttributes,
    ) -> bool:
        """Whether it was not running already."""
        try:
            await self._client.start_workflow(
                run,
                request,
                id=workflow_id,
                task_queue=WEBHOOKS_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=TASK_TIMEOUT,
                search_attributes=search_attributes,
                static_summary=summary,
                rpc_timeout=START_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        except RPCError as error:
            raise NotHandedOver(error.status.name) from error
        return True


def _attributes_of(delivery: HandedOver) -> TypedSearchAttributes:
    pairs = [
        SearchAttributePair(attributes.MERCHANT_ID, delivery.merchant_id),
        SearchAttributePair(attributes.ENDPOINT_ID, delivery.endpoint_id),
    ]
    if delivery.payment_id is not None:
        pairs.append(SearchAttributePair(attributes.PAYMENT_ID, delivery.payment_id))
    return TypedSearchAttributes(pairs)
