"""Replays of an endpoint's creation across an upgrade and across a change of the sealing key."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any, cast

import httpx
from pydantic import SecretStr
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import build_app
from api.http.key_header import fingerprint
from payonce.runtime import Runtime, open_runtime
from payonce.sealing import Sealer, SealingKey
from payonce.settings import SealingKeySettings
from payonce.storage.webhooks.sealed_answers import seal_answers_again
from tests.api.conftest import Merchant
from tests.api.fakes import FakeAdmission
from tests.api.recorded import ENDPOINTS, URL, execute
from workers.inbox import Inbox

KEY = "upgrade-key"
OLD = SealingKeySettings(id="old", key=SecretStr(b64encode(b"o" * 32).decode()))
NEW = SealingKeySettings(id="new", key=SecretStr(b64encode(b"n" * 32).decode()))


async def test_a_create_of_the_first_release_is_still_replayed(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    """The first release had no `signing`; its fingerprints are of a body without it."""
    headers = {"Idempotency-Key": KEY}
    first = await client.post(ENDPOINTS, json={"url": URL}, headers=headers)
    assert first.status_code == 201
    old = fingerprint(
        {"url": URL, "events": ["*"], "description": None, "ordered": False},
        method="POST",
        path=ENDPOINTS,
        secret=runtime.settings.secret_for("fingerprints"),
    )
    await execute(
        runtime,
        "UPDATE idempotency_keys SET fingerprint = :old WHERE merchant_id = :merchant AND key = :key",
        old=old,
        merchant=merchant.id,
        key=KEY,
    )
    again = await client.post(ENDPOINTS, json={"url": URL}, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_after_the_answers_are_sealed_again_the_old_sealing_key_may_go(
    runtime: Runtime, merchant: Merchant
) -> None:
    """What `payonce db seal` promises; the replay of a create must still be answered within its 24 h."""
    first = await create_with(runtime, merchant, OLD)
    changing = [SealingKey(key.id, b64decode(key.key.get_secret_value())) for key in (NEW, OLD)]
    sealer = Sealer([*changing, *runtime.settings.webhook_keys()])
    async with runtime.database.transaction() as connection:
        assert await seal_answers_again(connection, sealer, now=datetime.now(UTC)) > 0
        assert await seal_answers_again(connection, sealer, now=datetime.now(UTC)) == 0

    again = await create_with(runtime, merchant, NEW)

    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


async def create_with(runtime: Runtime, merchant: Merchant, key: SealingKeySettings) -> httpx.Response:
    """The answer of a process that has this sealing key only."""
    settings = runtime.settings.model_copy(update={"webhook_sealing_keys": (key,)})
    async with open_runtime(settings) as opened:
        admission = FakeAdmission(real=Admission(opened, cast("Any", None)))
        inbox = Inbox(opened, cast("Client", None))
        app = build_app(opened, cast("Admission", admission), {"postgres": opened.database.ping}, inbox)
        transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=merchant.headers
        ) as client:
            body, headers = {"url": URL}, {"Idempotency-Key": "sealing-change"}
            return await client.post(ENDPOINTS, json=body, headers=headers)
