"""The engine as a server: what the app, the SDK and a developer's browser ask it over HTTP."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from aiohttp import web
from inngest._internal.transforms import hash_signing_key
from yarl import URL

from devstack.engine.backoff import Timing
from devstack.engine.calls import Answer, Caller, Request, with_user
from devstack.engine.cron import CronTimers
from devstack.engine.events import EventRefused, Intake
from devstack.engine.model import Event, Listener, Run
from devstack.engine.page import render_page, run_as_json
from devstack.engine.registration import Function, RegistrationRefused, parse_registration
from devstack.engine.runs import Runs
from devstack.engine.tasks import EngineBroken
from devstack.faults import Call, Fault, FaultScript
from devstack.serving import LoopbackServer

SERVE_PATH = "/api/inngest"


class SyncFailed(RuntimeError):
    """The app could not be registered; the message says what it answered last."""


class Engine(LoopbackServer):
    """An Inngest server in this process.

    ``retry_interval_seconds`` replaces the real backoff table. ``signing_key`` makes it behave as
    outside dev mode: it signs its calls and asks the app to authenticate. ``time_scale``
    multiplies every wait (backoff, Retry-After, sleeps, timeouts of waits), not the 24 hours of
    deduplication, a cancellation's timeout or cron, which follow ``clock``.
    """

    name = "Inngest engine"

    def __init__(
        self,
        *,
        faults: FaultScript | None = None,
        retry_interval_seconds: float | None = None,
        signing_key: str | None = None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        time_scale: float = 1.0,
        call_timeout_seconds: float = 7200.0,
        run_cron: bool = True,
    ) -> None:
        super().__init__()
        self._faults = faults
        self._signing_key = signing_key
        self._run_cron = run_cron
        self._timing = Timing(
            retry_interval_seconds, time_scale, clock, rng if rng is not None else random.Random()
        )
        self._caller = Caller(self._timing, signing_key, call_timeout_seconds)
        self.functions: dict[str, Function] = {}
        self._runs = Runs(self._timing, self.functions, self._caller, faults, self._route)
        self._intake = Intake(self._timing, self.functions, self._runs)
        self._cron = CronTimers(self._timing, self._runs)

    # -- For the program that holds the engine ------------------------------------------------

    @property
    def runs(self) -> dict[str, Run]:
        """Every run, by id, in the order of creation."""
        return self._runs.all

    @property
    def listeners(self) -> list[Listener]:
        """Called on each change of a run's state."""
        return self._runs.listeners

    @property
    def away(self) -> bool:
        """Whether the engine plays dead: connections from the app are cut, no call is started."""
        return not self._runs.exchanges.present.is_set()

    @away.setter
    def away(self, away: bool) -> None:
        if away:
            self._runs.exchanges.present.clear()
        else:
            self._runs.exchanges.present.set()

    async def start(self, port: int = 0) -> None:
        self._caller.open()
        try:
            await super().start(port)
        except BaseException:
            await self._caller.close()
            raise
        if self._run_cron:
            self._cron.schedule(self.functions.values())

    async def stop(self) -> None:
        """Stop listening, cancel every run and timer. Raises EngineBroken if a task crashed."""
        await super().stop()
        await self._runs.stop()
        await self._caller.close()
        self._raise_crash()

    async def sync(
        self, app_url: str, *, attempts: int = 50, delay_seconds: float = 0.1
    ) -> None:
        """Have the app at ``app_url`` register itself. Raises SyncFailed."""
        kind = "dev" if self._signing_key is None else "cloud"
        headers = {"X-Inngest-Server-Kind": kind} | self._caller.signature(b"")
        url = URL(app_url.rstrip("/") + SERVE_PATH)
        answer = Answer(None, reason="it was never asked")
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(delay_seconds)
            answer = await self._caller.send(Request(url, headers, b""), "PUT")
            if answer.status == 200:
                _check_sync(url, answer)
                return
        said = answer.reason or f"it answered {answer.status} {_excerpt(answer)}"
        raise SyncFailed(f"{url} did not register in {attempts} attempts: {said}")

    async def send(self, *events: Event) -> list[str]:
        """What ``POST /e/<key>`` does. Raises EventRefused, or ConnectionError while away."""
        if self.away:
            raise ConnectionError("the engine is away")
        return self._intake.accept(list(events))

    def runs_of(self, function_id: str) -> list[Run]:
        return [run for run in self.runs.values() if run.function_id == function_id]

    def fire_cron(self, function_id: str) -> str:
        """Start a cron function now; its run's id."""
        function = self.functions[function_id]
        if not function.cron_triggers:
            raise ValueError(f"{function_id} has no cron trigger")
        now = datetime.fromtimestamp(self._timing.clock(), UTC)
        return self._cron.fire(function, function.cron_triggers[0], now).id

    def duplicate_run(self, run_id: str) -> str:
        """Start a run of the same function with the same event, as a replay does; its id."""
        run = self.runs[run_id]
        return self._runs.start(self._runs.known_functions[run.function_id], run.event).id

    def forget_finished(self) -> None:
        """Drop the runs that have ended from ``runs``. Their events stay known."""
        self._runs.forget_finished()

    async def wait_idle(self, timeout_seconds: float = 30.0) -> None:
        """Until no run is queued, executing, sleeping or waiting for a retry.

        Runs that wait for an event do not count. Raises TimeoutError naming the runs still open,
        and EngineBroken if the engine itself failed.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._runs.activity.wait_idle()
        except TimeoutError:
            self._raise_crash()
            open_runs = [self.runs[run_id] for run_id in self._runs.activity.busy_runs()]
            named = ", ".join(f"{run.id} of {run.function_id} ({run.status})" for run in open_runs)
            raise TimeoutError(f"still open after {timeout_seconds} s: {named}") from None
        self._raise_crash()

    # -- Over HTTP ----------------------------------------------------------------------------

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
        if self.away:
            return _cut(request)
        raw = await request.read()
        fault = self._event_fault(request, raw)
        if fault is None:
            return self._accept(raw, request)
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut == "before":
            return _cut(request)
        if fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        answer = self._accept(raw, request)
        return _cut(request) if fault.cut else _altered(answer, fault)

    def _accept(self, raw: bytes, request: web.Request) -> web.Response:
        try:
            body = json.loads(raw)
            ids = self._intake.accept(body, request.headers.get("x-inngest-event-id-seed"))
        except ValueError as error:
            refused = str(error) if isinstance(error, EventRefused) else "the body is not JSON"
            return web.json_response({"ids": [""], "status": 400, "error": refused}, status=400)
        return web.json_response({"ids": ids, "status": 200})

    def _event_fault(self, request: web.Request, raw: bytes) -> Fault | None:
        if self._faults is None:
            return None
        call = Call("events", "POST", request.path, _event_names(raw), raw, request.headers)
        return self._faults.fault_for(call)

    async def _register(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            return _cut(request)
        if not self._is_authentic(request):
            return web.json_response({"error": "authentication failed"}, status=401)
        try:
            app, functions = parse_registration(json.loads(await request.read()))
        except ValueError as error:
            refused = str(error) if isinstance(error, RegistrationRefused) else "not JSON"
            return web.json_response({"error": refused, "status": 400}, status=400)
        modified = self._replace(app, functions)
        app_id, sync_id = str(uuid5(NAMESPACE_URL, app)), str(uuid4())
        return web.json_response(
            {"ok": True, "modified": modified, "app_id": app_id, "sync_id": sync_id}
        )

    def _replace(self, app: str, functions: Sequence[Function]) -> bool:
        """Take an app's functions in place of those it had; whether the set of ids changed."""
        before = {f.id for f in self.functions.values() if f.app == app}
        after = {f.id: f for f in functions}
        for gone in before - after.keys():
            del self.functions[gone]
            self._cron.drop(gone)
        self.functions.update(after)
        self._runs.known_functions.update(after)
        if self._run_cron:
            self._cron.schedule(functions)
        return before != after.keys()

    async def _show_events(self, request: web.Request) -> web.Response:
        run = self._run_asked_for(request)
        return web.json_response([with_user(event) for event in run.events])

    async def _show_steps(self, request: web.Request) -> web.Response:
        return web.json_response(self._run_asked_for(request).steps)

    def _run_asked_for(self, request: web.Request) -> Run:
        if not self._is_authentic(request):
            raise web.HTTPUnauthorized
        run = self.runs.get(request.match_info["run_id"])
        if run is None:
            raise web.HTTPNotFound
        return run

    def _is_authentic(self, request: web.Request) -> bool:
        if self._signing_key is None:
            return True
        expected = f"Bearer {hash_signing_key(self._signing_key)}"
        return request.headers.get("Authorization") == expected

    async def _list_runs(self, _request: web.Request) -> web.Response:
        runs = [run_as_json(run) for run in reversed(self.runs.values())]
        return web.json_response({"data": runs})

    async def _show_dev(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": self.name, "functions": list(self.functions)})

    async def _show_page(self, _request: web.Request) -> web.Response:
        page = render_page(self.functions.values(), reversed(self.runs.values()), self.name)
        return web.Response(text=page, content_type="text/html")

    # -- Wiring -------------------------------------------------------------------------------

    def _route(self, event: Event, trace_id: str) -> None:
        self._intake.route(event, trace_id)

    def _raise_crash(self) -> None:
        crash = self._runs.tasks.crash
        if crash is not None:
            raise EngineBroken(f"a task of the engine crashed: {crash!r}") from crash


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


def _check_sync(url: URL, answer: Answer) -> None:
    # The SDK answers 200 also when the engine refused, with the engine's words as the body.
    try:
        body: Any = json.loads(answer.body)
    except ValueError:
        body = None
    if not (isinstance(body, dict) and body.get("ok") is True):
        raise SyncFailed(f"{url} was refused: {_excerpt(answer)}")


def _excerpt(answer: Answer) -> str:
    return answer.body[:500].decode(errors="replace")
