"""Webhook endpoints over HTTP: registered, shown, changed, deleted, given a new secret."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement
from starlette.requests import Request
from starlette.responses import Response

from api.admission.requests import KeyUnknown, Post
from api.admission.waiting import Result
from api.front import READ_S, Front, key_of, path_id
from api.http.lists import Listing, fetch, list_response, read_query
from api.http.responses import NO_STORE, reply, shown
from api.problems import NO_CONTENT
from api.schemas.webhooks import CreateEndpoint, Nothing, UpdateEndpoint
from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.domain.audit import Act, AuditAction
from payonce.domain.errors import InvalidRequest, NotFound
from payonce.storage import audit, idempotency
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import StorageUnavailable, within
from payonce.storage.idempotency import Key
from payonce.storage.merchants import Caller
from payonce.storage.tables import webhook_endpoints as table
from payonce.storage.webhooks.endpoints import (
    ENDPOINT_COLUMNS,
    ENDPOINTS_MAX,
    Endpoint,
    count_endpoints,
    delete_endpoint,
    endpoint_from,
    endpoint_view,
    find_endpoint,
    insert_endpoint,
    update_endpoint,
)
from payonce.storage.webhooks.sealed_answers import conceal, revealed
from payonce.storage.webhooks.secrets import active_secrets, insert_secret, rotate_secret, seal_plain_secrets
from payonce.webhooks.addresses import check_url
from payonce.webhooks.secrets import make_secret, public_key_of
from payonce.webhooks.signing import Signing


class Endpoints:
    """The handlers under `/v1/webhook_endpoints`, but those about deliveries."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._runtime = front.runtime
        self._sealer = front.runtime.sealer

    async def create(self, request: Request) -> Response:
        post, body = await self._front.post(request, CreateEndpoint)
        if not await self._known(post):  # a replay is answered even if the URL would be refused by now
            self._check(body.url, mode=post.caller.mode)
        endpoint = self._new(post, body)
        new = make_secret(
            self._sealer,
            endpoint_id=endpoint.id,
            signing=Signing(endpoint.signing),
            at=endpoint.created_at,
        )

        async def work(connection: Connection) -> tuple[Answer, str]:
            await self._check_room(connection, post.caller)
            await insert_endpoint(connection, endpoint)
            await insert_secret(connection, new.stored)
            await _audit(connection, request, post.caller, AuditAction.ENDPOINT_CREATED, endpoint.id)
            view = endpoint_view(endpoint, secret=new.secret, public_key=new.public_key)
            return conceal(AnswerKind.ENDPOINT, view, self._sealer), _path(endpoint)

        result = await self._front.admission.execute_once(post, work)
        return reply(self._revealed(result))

    async def rotate_secret(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def work(connection: Connection, caller: Caller, _: Nothing) -> tuple[Answer, str]:
            endpoint = await find_endpoint(
                connection, endpoint_id, merchant_id=caller.merchant_id, mode=caller.mode
            )
            if endpoint is None:
                raise NotFound
            signing, now = Signing(endpoint.signing), datetime.now(UTC)
            await seal_plain_secrets(connection, self._sealer, endpoint_id=endpoint_id)
            new = make_secret(self._sealer, endpoint_id=endpoint_id, signing=signing, at=now)
            if not await rotate_secret(connection, new.stored):
                raise NotFound
            await _audit(connection, request, caller, AuditAction.ENDPOINT_SECRET_ROTATED, endpoint_id)
            view = endpoint_view(endpoint, secret=new.secret, public_key=new.public_key)
            return conceal(AnswerKind.ENDPOINT_CHANGED, view, self._sealer), _path(endpoint)

        return reply(self._revealed(await self._front.once(request, Nothing, work)))

    async def show(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def read(connection: Connection, caller: Caller) -> Response:
            endpoint = await find_endpoint(
                connection, endpoint_id, merchant_id=caller.merchant_id, mode=caller.mode
            )
            return await self._shown(connection, endpoint)

        return await self._front.read(request, read)

    async def list(self, request: Request) -> Response:
        page, _ = read_query(request)

        async def read(connection: Connection, caller: Caller) -> Response:
            mine: tuple[ColumnElement[bool], ...] = (
                table.c.merchant_id == caller.merchant_id,
                table.c.mode == caller.mode,
            )
            position = (table.c.xid, table.c.created_at, table.c.id)
            listing = Listing(
                ENDPOINT_COLUMNS, mine, table.c.id, position, xid=table.c.xid, sorted_by_index=False
            )
            rows, has_more = await fetch(connection, listing, page)
            views = await self._views(connection, [endpoint_from(row) for row in rows])
            return list_response([encode(view) for view in views], has_more=has_more)

        return await self._front.read(request, read)

    async def update(self, request: Request) -> Response:
        endpoint_id = path_id(request)
        caller, body = await self._front.body(request, UpdateEndpoint)
        changes: dict[str, Any] = body.model_dump(exclude_none=True)
        if body.url is not None:
            self._check(body.url, mode=caller.mode)

        async def write(connection: Connection, caller: Caller) -> Response:
            endpoint = await update_endpoint(
                connection, endpoint_id, merchant_id=caller.merchant_id, mode=caller.mode, changes=changes
            )
            if endpoint is not None:
                await _audit(
                    connection, request, caller, AuditAction.ENDPOINT_CHANGED, endpoint_id, changed=changes
                )
            return await self._shown(connection, endpoint)

        return await self._front.write(request, write)

    async def delete(self, request: Request) -> Response:
        endpoint_id = path_id(request)

        async def write(connection: Connection, caller: Caller) -> bool:
            deleted = await delete_endpoint(
                connection, endpoint_id, merchant_id=caller.merchant_id, mode=caller.mode
            )
            if deleted:
                await _audit(connection, request, caller, AuditAction.ENDPOINT_DELETED, endpoint_id)
            return deleted

        if not await self._front.write(request, write):
            raise NotFound
        return Response(status_code=NO_CONTENT, headers=NO_STORE)

    async def _shown(self, connection: Connection, endpoint: Endpoint | None) -> Response:
        """The endpoint without its secret. Raises `NotFound`."""
        if endpoint is None:
            raise NotFound
        (view,) = await self._views(connection, [endpoint])
        return shown(encode(view))

    async def _views(self, connection: Connection, endpoints: Sequence[Endpoint]) -> Sequence[dict[str, Any]]:
        """The endpoints without their secrets; with the current public key where there is one."""
        asymmetric = [each.id for each in endpoints if each.signing == Signing.ED25519]
        stored = await active_secrets(connection, asymmetric) if asymmetric else {}
        keys = {id_: public_key_of(self._sealer, secrets[0]) for id_, secrets in stored.items()}
        return [endpoint_view(each, public_key=keys.get(each.id)) for each in endpoints]

    async def _known(self, post: Post) -> bool:
        """Whether the key was used before; admission decides what that means."""
        caller = post.caller

        async def read() -> Key | None:
            async with self._runtime.tenants.reading(caller) as connection:
                return await idempotency.find_key(
                    connection, merchant_id=caller.merchant_id, mode=caller.mode, key=post.stored_key
                )

        try:
            return await within(READ_S, read()) is not None
        except StorageUnavailable as error:
            raise KeyUnknown from error

    def _revealed(self, result: Result) -> Result:
        """The result as it is sent: the same bytes each time, with its secret in the clear while it is kept.

        Raises `CannotUnseal`.
        """
        if result.answer is None:
            return result
        return replace(result, answer=Answer(result.answer.kind, revealed(result.answer.body, self._sealer)))

    async def _check_room(self, connection: Connection, caller: Caller) -> None:
        """Returns if the merchant may have one more. Raises `InvalidRequest`."""
        count = await count_endpoints(connection, merchant_id=caller.merchant_id, mode=caller.mode)
        if count >= ENDPOINTS_MAX:
            raise InvalidRequest(
                f"There are {ENDPOINTS_MAX} webhook endpoints in {caller.mode} mode already; delete one first."
            )

    def _check(self, url: str, *, mode: str) -> None:
        check_url(url, mode=mode, allow_loopback=self._runtime.settings.allow_loopback_webhooks)

    def _new(self, post: Post, body: CreateEndpoint) -> Endpoint:
        caller = post.caller
        return Endpoint(
            id=self._runtime.ids.endpoint(merchant_id=caller.merchant_id, mode=caller.mode, key=post.key),
            merchant_id=caller.merchant_id,
            mode=caller.mode,
            url=body.url,
            events=tuple(dict.fromkeys(body.events)),
            description=body.description,
            ordered=body.ordered,
            enabled=True,
            signing=body.signing,
            created_at=datetime.now(UTC),
        )


async def _audit(
    connection: Connection,
    request: Request,
    caller: Caller,
    action: AuditAction,
    endpoint_id: str,
    *,
    changed: Iterable[str] = (),
) -> None:
    """Where a merchant's events go, and what signs them, is decided by a key: the log has it, or it is not done."""
    act = Act(
        action=action,
        subject=endpoint_id,
        merchant_id=caller.merchant_id,
        mode=caller.mode,
        details={"changed": sorted(changed)} if changed else {},
    )
    await audit.decided(connection, key_of(request, caller), act)


def _path(endpoint: Endpoint) -> str:
    return f"/v1/webhook_endpoints/{endpoint.id}"
