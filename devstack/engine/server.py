"""The engine, put together, and what the program that holds it can ask of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from devstack.engine.apps import Apps, sync_app
from devstack.engine.backoff import Timing
from devstack.engine.calls import Caller
from devstack.engine.cron import CronTimers
from devstack.engine.events import Intake
from devstack.engine.functions import Function, Functions
from devstack.engine.model import Event, Listener, Run
from devstack.engine.runs import Runs
from devstack.engine.tasks import EngineBrokenError
from devstack.engine.wire import Wire
from devstack.faults import FaultScript
from devstack.serving import LoopbackServer


class Engine(LoopbackServer):
    """An Inngest server in this process.

    ``retry_interval_seconds`` replaces the real backoff table. ``signing_key`` makes it behave as
    outside dev mode: it signs its calls and asks the app to authenticate. ``time_scale``
    multiplies every wait (backoff, Retry-After, sleeps, the timeouts of waits and invocations),
    but not the 24 hours of deduplication, a cancellation's timeout or cron, which follow
    ``clock``. ``listeners`` are called on each change of a run's state.
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
        self._timing = Timing(
            retry_interval_seconds, time_scale, clock, rng if rng is not None else random.Random()
        )
        self._kind = "dev" if signing_key is None else "cloud"
        self._functions = Functions()
        self._caller = Caller(self._timing, signing_key, call_timeout_seconds)
        self._runs = Runs(self._timing, self._functions, self._caller, faults, self._route)
        self._intake = Intake(self._timing, self._functions.registered, self._runs)
        self._cron = CronTimers(self._timing, self._runs)
        self._apps = Apps(self._functions, self._cron if run_cron else None)
        self._wire = Wire(
            self._intake, self._apps, self._runs, faults, signing_key, lambda: self.away
        )
        self.functions: dict[str, Function] = self._functions.registered
        self.runs: dict[str, Run] = self._runs.all
        self.listeners: list[Listener] = self._runs.listeners

    def routes(self) -> list[web.AbstractRouteDef]:
        return self._wire.routes()

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
        self._apps.set_timers()

    async def stop(self) -> None:
        """Stop listening, cancel every run and timer.

        Raises EngineBrokenError if the engine itself had failed.
        """
        await super().stop()
        await self._runs.stop()
        await self._caller.close()
        self._raise_crash()

    async def sync(self, app_url: str, *, attempts: int = 50, delay_seconds: float = 0.1) -> None:
        """Have the app at ``app_url`` register itself. Raises SyncError."""
        headers = {"X-Inngest-Server-Kind": self._kind} | self._caller.signature(b"")
        await sync_app(self._caller, app_url, headers, attempts, delay_seconds)

    async def send(self, *events: Event) -> list[str]:
        """What ``POST /e/<key>`` does. Raises EventRefusedError, or ConnectionError while away."""
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
        return self._runs.start(self._functions.known[run.function_id], run.event).id

    def forget_finished(self) -> None:
        """Drop the runs that have ended from ``runs``. Their events stay known."""
        self._runs.forget_finished()

    async def wait_idle(self, timeout_seconds: float = 30.0) -> None:
        """Until no run is queued, executing, sleeping or waiting for a retry.

        Runs that wait for an event do not count. Raises TimeoutError naming the runs still open,
        and EngineBrokenError if the engine itself failed.
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

    def _route(self, event: Event, trace_id: str) -> None:
        self._intake.route(event, trace_id)

    def _raise_crash(self) -> None:
        crash = self._runs.tasks.crash
        if crash is not None:
            raise EngineBrokenError(f"a task of the engine crashed: {crash!r}") from crash
