"""The few calls of Stripe's API that reconciling and refunding need, in Stripe's shapes.

For ``STRIPE_API_BASE``. It knows the sessions, refunds and disputes that it is told about or that
are created through it; every other call is refused as an unrecognized URL.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

from aiohttp import web

from devstack.cutting import drop, send_half
from devstack.faults import Call, Fault, FaultScript
from devstack.payments.books import StripeBooks
from devstack.payments.endpoints import ENDPOINTS, Asked, Endpoint
from devstack.payments.errors import (
    JSON_TYPE,
    StripeRefusal,
    lacks_permission,
    no_key,
    other_parameters,
    unknown_url,
    wrong_key,
)
from devstack.payments.lists import read_params
from devstack.payments.objects import Json, new_id
from devstack.serving import LoopbackServer


@dataclass(frozen=True)
class Reply:
    status: int
    body: Json
    replayed: bool = False


class StripeAPI(LoopbackServer):
    """``page_limit`` cuts lists into shorter pages than asked for, as if there were more objects.

    ``restricted`` holds the permissions that the key lacks: ``rak_checkout_session_read``,
    ``rak_charge_read`` (charges and refunds), ``rak_charge_write``, ``rak_dispute_read``.
    ``faults`` is asked once per call, with the service ``stripe`` and as detail
    ``checkout/sessions``, ``refunds``, ``charges`` or ``disputes``; a fault that is committed
    after the work leaves the refund made.
    """

    name = "Stripe API"

    def __init__(
        self,
        *,
        api_key: str = "sk_test_embedded",
        faults: FaultScript | None = None,
        page_limit: int = 100,
    ) -> None:
        super().__init__()
        self.api_key = api_key
        self.faults = faults or FaultScript()
        self.page_limit = page_limit
        self.restricted: set[str] = set()
        self.books = StripeBooks()
        self.sessions = self.books.sessions
        self.refunds = self.books.refunds
        self.disputes = self.books.disputes
        self.events = self.books.events
        self._replies: dict[str, tuple[str, Reply]] = {}

    def add_session(self, session: Json) -> None:
        """Add a session, or put it in the place of one with the same id. A paid one is charged."""
        self.sessions[session["id"]] = session

    def add_refund(self, refund: Json) -> None:
        self.refunds[refund["id"]] = refund

    def add_dispute(self, dispute: Json) -> None:
        self.disputes[dispute["id"]] = dispute

    def routes(self) -> list[web.AbstractRouteDef]:
        everything_else = Endpoint("*", "/{path:.*}", "", "", _refuse_url)
        return [self._route(endpoint) for endpoint in (*ENDPOINTS, everything_else)]

    def _route(self, endpoint: Endpoint) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, endpoint)

        return web.route(endpoint.method, endpoint.path, handle)

    async def _handle(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        body = await request.read()
        call = Call(
            "stripe", request.method, request.path, endpoint.resource, body, request.headers
        )
        fault = self.faults.fault_for(call) or Fault()
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut == "before":
            return drop(request)
        if fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        return await _deliver(request, self._reply(request, body, endpoint), fault)

    def _reply(self, request: web.Request, body: bytes, endpoint: Endpoint) -> Reply:
        try:
            self._check_key(request.headers.get("Authorization", ""), endpoint.permission)
            text = body.decode() if request.method == "POST" else request.rel_url.raw_query_string
            asked = Asked(
                request.path,
                read_params(text),
                self.page_limit,
                id=request.match_info.get("id", ""),
            )
            key = request.headers.get("Idempotency-Key")
            if request.method == "POST" and key:
                return self._once(key, asked, endpoint)
            return Reply(200, endpoint.work(self.books, asked))
        except StripeRefusal as refusal:
            return Reply(refusal.status, refusal.body)

    def _check_key(self, authorization: str, permission: str) -> None:
        """Stripe also takes the key as a basic user name; its libraries send it as a bearer."""
        key = authorization.removeprefix("Bearer ").strip()
        if not key or key == authorization:
            raise no_key()
        if key != self.api_key:
            raise wrong_key(key)
        if permission in self.restricted:
            raise lacks_permission(key, permission)

    def _once(self, key: str, asked: Asked, endpoint: Endpoint) -> Reply:
        """The first answer to a key is its answer for good. Requests that were found invalid do
        not count, as they never started."""
        request = json.dumps([asked.path, dict(asked.params)], sort_keys=True)
        if key in self._replies:
            first_request, reply = self._replies[key]
            if first_request != request:
                raise other_parameters(key)
            return replace(reply, replayed=True)
        try:
            reply = Reply(200, endpoint.work(self.books, asked))
        except StripeRefusal as refusal:
            if not refusal.executed:
                raise
            reply = Reply(refusal.status, refusal.body)
        self._replies[key] = (request, reply)
        return reply


def _refuse_url(books: StripeBooks, asked: Asked) -> Json:
    raise unknown_url(asked.path)


async def _deliver(request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
    body = json.dumps(reply.body, indent=2).encode()
    headers = {**JSON_TYPE, "Request-Id": new_id("req", 14)}
    for name in ("Idempotency-Key", "Stripe-Version"):
        if name in request.headers:
            headers[name] = request.headers[name]
    if reply.replayed:
        headers["Idempotent-Replayed"] = "true"
    if fault.cut == "after":
        return drop(request)
    if fault.cut == "middle":
        return await send_half(request, body, headers)
    if fault.replace_body:
        return web.Response(headers=fault.headers, body=fault.body)
    if fault.truncate:
        body = body[: len(body) // 2]
    return web.Response(status=reply.status, headers=headers, body=body)
