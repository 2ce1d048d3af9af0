"""What an API key decides about webhook endpoints is in the audit log, or is not decided."""

import httpx
import pytest
from psycopg.errors import CheckViolation

from payonce.runtime import Runtime
from payonce.storage.driver.database import StorageUnavailable
from tests.api.conftest import Merchant
from tests.api.recorded import ENDPOINTS, execute, registered, rows

pytestmark = pytest.mark.usefixtures("no_endpoints")
FULL = "ALTER TABLE audit.entries ADD CONSTRAINT full_by_now CHECK (false) NOT VALID"
EMPTIED = "ALTER TABLE audit.entries DROP CONSTRAINT full_by_now"
LOGGED = """
    SELECT action, actor_kind, (SELECT mode FROM api_keys WHERE api_keys.id = actor) AS key_mode,
           merchant_id, details, members->>'origin' AS origin
      FROM audit.entries LEFT JOIN audit.personal ON entry_id = entries.id
     WHERE subject = '{}' ORDER BY transaction_id
"""


async def test_each_change_says_which_key_made_it_and_from_where(
    client: httpx.AsyncClient, runtime: Runtime, merchant: Merchant
) -> None:
    endpoint = await registered(client)
    path = f"{ENDPOINTS}/{endpoint['id']}"

    await client.post(f"{path}/rotate_secret")
    await client.patch(path, json={"enabled": False})
    await client.delete(path)
    await client.delete(path)  # of none

    logged = await rows(runtime, LOGGED.format(endpoint["id"]))
    assert [row["action"].partition(".")[2] for row in logged] == [
        "created",
        "secret_rotated",
        "changed",
        "deleted",
    ]
    assert {(row["actor_kind"], row["key_mode"], row["merchant_id"]) for row in logged} == {
        ("api_key", "test", merchant.id)
    }
    assert {row["origin"] for row in logged} == {"127.0.0.1"}
    assert logged[2]["details"] == {"changed": ["enabled"]}


async def test_a_change_that_the_log_does_not_take_is_not_made(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    endpoint = await registered(client)
    path = f"{ENDPOINTS}/{endpoint['id']}"
    before = await stored(runtime)
    await execute(runtime, FULL)
    try:
        for method, url, body in (
            ("POST", f"{path}/rotate_secret", {}),
            ("PATCH", path, {"enabled": False}),
            ("DELETE", path, None),
        ):
            try:
                answer = await client.request(method, url, json=body)
                assert answer.status_code >= 500
            except (CheckViolation, StorageUnavailable):
                pass
    finally:
        await execute(runtime, EMPTIED)

    assert await stored(runtime) == before


async def stored(runtime: Runtime) -> list[str]:
    """The endpoints and their secrets."""
    found = await rows(runtime, "SELECT to_jsonb(t)::text AS row FROM webhook_endpoints t")
    found += await rows(runtime, "SELECT to_jsonb(t)::text AS row FROM webhook_secrets t")
    return sorted(row["row"] for row in found)
