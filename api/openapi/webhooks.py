"""The operations on webhook endpoints and their deliveries: what each does, takes and answers."""

from datetime import timedelta
from typing import Final

from api.openapi import told_objects
from api.openapi.description import (
    BODY_CODES,
    ID_IN_PATH,
    KEY_CODES,
    LIST_CODES,
    OBJECT_CODES,
    OK,
    OPTIONAL_KEY_CODES,
    PAGE,
    POST,
    POST_ONCE,
    Description,
    list_of,
    model_ref,
    query,
)
from api.problems import ACCEPTED, CREATED, NO_CONTENT
from api.schemas import webhooks
from payonce.domain.delivery import DeliveryStatus
from payonce.storage.webhooks.endpoints import ENDPOINTS_MAX
from payonce.storage.webhooks.redeliveries import JOB_EVENTS_MAX
from payonce.storage.webhooks.secrets import ACTIVE_MAX, OVERLAP

_ENDPOINT: Final = model_ref(told_objects.EndpointView)
_RECOVERY: Final = model_ref(told_objects.RecoveryView)

CREATE_ENDPOINT = Description(
    id="createWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Register a webhook endpoint",
    text="The answer, and its replays for 24 h, are the only ones with the `secret`; an `ed25519` endpoint has"
    " a `public_key` instead, in every answer. URLs are https on port 443 or 8443 (in test mode also http, 80"
    " and 8080) to public addresses."
    f" A merchant has {ENDPOINTS_MAX} endpoints in each mode at most; one more is an `invalid_request`.",
    answers={CREATED: ("The endpoint with its secret", model_ref(told_objects.NewEndpointView))},
    codes=(*KEY_CODES, "webhook_url_forbidden"),
    body=webhooks.CreateEndpoint,
    example={"url": "https://shop.example/hooks", "events": ["payment.captured", "refund.succeeded"]},
    parameters=POST,
)
LIST_ENDPOINTS = Description(
    id="listWebhookEndpoints",
    tag="Webhook endpoints",
    summary="List webhook endpoints, newest first",
    answers={OK: ("A page of endpoints", list_of(told_objects.EndpointView))},
    codes=LIST_CODES,
    parameters=PAGE,
)
GET_ENDPOINT = Description(
    id="getWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Get a webhook endpoint",
    answers={OK: ("The endpoint", _ENDPOINT)},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
UPDATE_ENDPOINT = Description(
    id="updateWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Change a webhook endpoint",
    text="What is left out stays as it is. What waits for an endpoint is dropped when it is disabled; once it"
    " is enabled again, `recover` delivers what it missed.",
    answers={OK: ("The endpoint as changed", _ENDPOINT)},
    codes=(*BODY_CODES, "not_found", "webhook_url_forbidden"),
    body=webhooks.UpdateEndpoint,
    body_required=False,
    example={"enabled": False},
    parameters=(ID_IN_PATH,),
)
ROTATE_SECRET = Description(
    id="rotateWebhookEndpointSecret",
    tag="Webhook endpoints",
    summary="Replace a webhook endpoint's secret",
    text=f"The old secret signs for {OVERLAP // timedelta(hours=1)} h more, next to the new one, so change over"
    f" within that time. At most {ACTIVE_MAX} sign at a time: rotated more often, the oldest ends at once. The"
    " answer, and its replays for 24 h, are the only ones with the new `secret` (`ed25519`: the new"
    " `public_key`).",
    answers={OK: ("The endpoint with its new secret", model_ref(told_objects.NewEndpointView))},
    codes=(*OPTIONAL_KEY_CODES, "not_found"),
    body=webhooks.Nothing,
    body_required=False,
    parameters=(ID_IN_PATH, *POST_ONCE),
)
PING_ENDPOINT = Description(
    id="pingWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Send a webhook endpoint a `webhook_endpoint.ping`",
    text="Signed and repeated as every delivery is; the endpoint must be enabled.",
    answers={
        ACCEPTED: ("The event that is delivered to this endpoint only", model_ref(told_objects.EventView))
    },
    codes=(*OPTIONAL_KEY_CODES, "not_found"),
    body=webhooks.Nothing,
    body_required=False,
    parameters=(ID_IN_PATH, *POST_ONCE),
)
LIST_DELIVERIES = Description(
    id="listDeliveries",
    tag="Webhook endpoints",
    summary="List a webhook endpoint's deliveries, newest first",
    answers={OK: ("A page of deliveries", list_of(told_objects.DeliveryView))},
    codes=(*LIST_CODES, "not_found"),
    parameters=(
        ID_IN_PATH,
        *PAGE,
        query("status", {"type": "string", "enum": list(DeliveryStatus)}, "Only those with this status"),
    ),
)
RECOVER_ENDPOINT = Description(
    id="recoverWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Deliver all that a webhook endpoint missed",
    text="Every event since then that the endpoint wants and never got, also from when it was disabled; what"
    " failed and waits for its next attempt gets it now, and what is on its way is left alone. Oldest first, in the"
    f" background, {JOB_EVENTS_MAX} at most: when `count` says so many, recover again afterwards. `Location` tells"
    " the progress.",
    answers={ACCEPTED: ("How many events are delivered", _RECOVERY)},
    codes=(*OPTIONAL_KEY_CODES, "not_found"),
    body=webhooks.Recover,
    example={"since": "2026-11-29T05:46:00Z"},
    parameters=(ID_IN_PATH, *POST_ONCE),
)
REPLAY_ENDPOINT = Description(
    id="replayWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Deliver a range of events to a webhook endpoint again",
    text="Whether it got them or not; otherwise as `recover`.",
    answers={ACCEPTED: ("How many events are delivered", _RECOVERY)},
    codes=(*OPTIONAL_KEY_CODES, "not_found"),
    body=webhooks.Replay,
    example={"since": "2026-11-29T05:46:00Z", "types": ["payment.captured"]},
    parameters=(ID_IN_PATH, *POST_ONCE),
)
GET_JOB = Description(
    id="getWebhookJob",
    tag="Webhook endpoints",
    summary="See how far a recovery or a replay is",
    answers={OK: ("The job", model_ref(told_objects.JobView))},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
DELETE_ENDPOINT = Description(
    id="deleteWebhookEndpoint",
    tag="Webhook endpoints",
    summary="Delete a webhook endpoint",
    answers={NO_CONTENT: ("It is gone, and what waited for it is dropped", None)},
    codes=(*OBJECT_CODES, "outcome_unknown"),
    parameters=(ID_IN_PATH,),
)
