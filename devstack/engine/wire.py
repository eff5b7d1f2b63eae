"""What the app, its SDK and a developer's browser ask the engine over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aiohttp import web
from inngest._internal.transforms import hash_signing_key

from devstack.engine.apps import Apps
from devstack.engine.calls import with_user
from devstack.engine.events import EventRefusedError, Intake
from devstack.engine.model import Run
from devstack.engine.page import render_page, run_as_json
from devstack.engine.registration import RegistrationRefusedError
from devstack.engine.runs import Runs
from devstack.faults import Call, Fault, FaultScript


class Wire:
    """``is_away`` says whether connections from the app are cut."""

    def __init__(
        self,
        intake: Intake,
        apps: Apps,
        runs: Runs,
        faults: FaultScript | None,
        signing_key: str | None,
        is_away: Callable[[], bool],
    ) -> None:
        self._intake = intake
        self._apps = apps
        self._runs = runs
        self._faults = faults
        self._authorization = signing_key and f"Bearer {hash_signing_key(signing_key)}"
        self._is_away = is_away

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.post("/e/{key}", self._receive_events),
            web.post("/fn/register", self._register),
            web.put("/fn/register", self._register),
            web.get("/v0/runs/{run_id}/batch", self._show_events),
            web.get("/v0/runs/{run_id}/actions", self._show_steps),
            web.get("/v1/runs", self._list_runs),
            web.get("/dev", self._show_dev),
            web.get("/", self._show_page),
        ]

    async def _receive_events(self, request: web.Request) -> web.StreamResponse:
        if self._is_away():
            return _cut(request)
        raw = await request.read()
        fault = self._fault(request, raw)
        if fault is None:
            return self._accept(request, raw)
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut == "before":
            return _cut(request)
        if fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        answer = self._accept(request, raw)
        return _cut(request) if fault.cut else _altered(answer, fault)

    def _accept(self, request: web.Request, raw: bytes) -> web.Response:
        try:
            body = json.loads(raw)
            ids = self._intake.accept(body, request.headers.get("x-inngest-event-id-seed"))
        except EventRefusedError as error:
            return _refused(str(error))
        except ValueError:
            return _refused("the body is not JSON")
        return web.json_response({"ids": ids, "status": 200})

    def _fault(self, request: web.Request, raw: bytes) -> Fault | None:
        if self._faults is None:
            return None
        call = Call("events", "POST", request.path, _event_names(raw), raw, request.headers)
        return self._faults.fault_for(call)

    async def _register(self, request: web.Request) -> web.StreamResponse:
        if self._is_away():
            return _cut(request)
        if not self._is_authentic(request):
            return web.json_response({"error": "authentication failed"}, status=401)
        try:
            return web.json_response(self._apps.register(json.loads(await request.read())))
        except RegistrationRefusedError as error:
            return web.json_response({"error": str(error)}, status=400)
        except ValueError:
            return web.json_response({"error": "the body is not JSON"}, status=400)

    async def _show_events(self, request: web.Request) -> web.Response:
        return web.json_response([with_user(event) for event in self._run_of(request).events])

    async def _show_steps(self, request: web.Request) -> web.Response:
        return web.json_response(self._run_of(request).steps)

    def _run_of(self, request: web.Request) -> Run:
        if not self._is_authentic(request):
            raise web.HTTPUnauthorized
        run = self._runs.all.get(request.match_info["run_id"])
        if run is None:
            raise web.HTTPNotFound
        return run

    def _is_authentic(self, request: web.Request) -> bool:
        return self._authorization in (None, request.headers.get("Authorization"))

    async def _list_runs(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [run_as_json(run) for run in self._newest_first()]})

    async def _show_dev(self, _request: web.Request) -> web.Response:
        return web.json_response({"functions": list(self._runs.functions.registered)})

    async def _show_page(self, _request: web.Request) -> web.Response:
        page = render_page(self._runs.functions.registered.values(), self._newest_first())
        return web.Response(text=page, content_type="text/html")

    def _newest_first(self) -> list[Run]:
        return list(reversed(self._runs.all.values()))


def _refused(message: str) -> web.Response:
    return web.json_response({"ids": [""], "status": 400, "error": message}, status=400)


def _cut(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _altered(answer: web.Response, fault: Fault) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else b""
    if fault.replace_body:
        return web.Response(body=fault.body, headers=fault.headers)
    if fault.truncate:
        return web.Response(body=body[: len(body) // 2], content_type="application/json")
    return answer


def _event_names(raw: bytes) -> str:
    try:
        body = json.loads(raw)
    except ValueError:
        return ""
    events = body if isinstance(body, list) else [body]
    return ",".join(str(event.get("name")) for event in events if isinstance(event, dict))
