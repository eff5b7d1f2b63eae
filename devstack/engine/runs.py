"""The life of every run: its start, its end, and the events that its end emits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from devstack.engine.answers import RunFailedError
from devstack.engine.backoff import Timing
from devstack.engine.calls import Caller
from devstack.engine.driver import Driver
from devstack.engine.endings import answer_invoker, end_events, internal_event
from devstack.engine.exchange import Exchanges
from devstack.engine.functions import Function, Functions
from devstack.engine.model import (
    FUNCTION_INVOKED,
    Event,
    Listener,
    Run,
    RunUpdate,
    UpdateKind,
)
from devstack.engine.pauses import Pauses
from devstack.engine.tasks import Activity, Tasks
from devstack.engine.ulid import new_ulid
from devstack.engine.waits import Waits
from devstack.faults import FaultScript

logger = logging.getLogger(__name__)


class Runs:
    """Starts, cancels and ends runs. ``emit`` gets the events that a run's end makes, with the
    run's trace id."""

    def __init__(
        self,
        timing: Timing,
        functions: Functions,
        caller: Caller,
        faults: FaultScript | None,
        emit: Callable[[Event, str], None],
    ) -> None:
        self.all: dict[str, Run] = {}
        self.functions = functions
        self.listeners: list[Listener] = []
        self.tasks = Tasks()
        self.activity = Activity()
        self.waits = Waits(self.activity)
        self.exchanges = Exchanges(
            caller, functions.known, faults, self.tasks, self.activity, self._tell
        )
        self._timing = timing
        self._emit = emit
        self._open: dict[str, asyncio.Task[None]] = {}
        pauses = Pauses(timing, self.waits, self._invoke)
        self._driver = Driver(self.exchanges, pauses, timing, self.tasks, self.activity, self._tell)

    def start(self, function: Function, event: Event, trace_id: str | None = None) -> Run:
        now = self._timing.clock()
        run = Run(new_ulid(now, self._timing.rng), function.id, event, [event], started_at=now)
        if trace_id is not None:
            run.trace_id = trace_id
        self.all[run.id] = run
        self.activity.begin(run.id)
        task = self.tasks.spawn_alone(self._live(function, run))
        self._open[run.id] = task
        task.add_done_callback(lambda _: self._left(run))
        return run

    def open_runs(self) -> Iterator[Run]:
        return iter([self.all[run_id] for run_id in self._open])

    def cancel(self, run: Run) -> None:
        """End a run before its next step. A call that is under way runs to its end, unheard."""
        if not run.ended:
            self._end(run, "cancelled", error=_cancelled_error())
            self._open[run.id].cancel()

    def forget_finished(self) -> None:
        busy = {*self._open, *self.activity.busy_runs()}
        for run_id in [run.id for run in self.all.values() if run.ended and run.id not in busy]:
            del self.all[run_id]

    async def stop(self) -> None:
        for run in self.open_runs():
            run.status = "cancelled"
        await self.tasks.stop()

    async def _live(self, function: Function, run: Run) -> None:
        try:
            output = await self._driver.drive(function, run)
        except RunFailedError as failed:
            self._end(run, "failed", error=failed.failure.error, result=failed.failure.result)
        else:
            self._end(run, "completed", result=output)

    def _left(self, run: Run) -> None:
        self._open.pop(run.id, None)
        self.activity.end(run.id)

    def _end(
        self,
        run: Run,
        status: Any,
        result: Any = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        run.status, run.error, run.ended_at = status, error, self._timing.clock()
        run.output = result if status == "completed" else None
        logger.info("run %s of %s %s", run.id, run.function_id, status)
        self._tell(status, run, None, run.attempt)
        for event in end_events(run, result, self._timing):
            self._emit(event, run.trace_id)
        answer_invoker(run, self.waits)

    def _invoke(self, function_id: str, payload: dict[str, Any], correlation_id: str) -> bool:
        function = self.functions.registered.get(function_id)
        if function is None:
            return False
        invocation = {"correlation_id": correlation_id, "fn_id": function_id}
        data = {**(payload.get("data") or {}), "_inngest": invocation}
        self.start(function, internal_event(FUNCTION_INVOKED, data, self._timing))
        return True

    def _tell(self, kind: UpdateKind, run: Run, step: str | None, attempt: int) -> None:
        update = RunUpdate(kind, run, step, attempt)
        for listener in list(self.listeners):
            listener(update)


def _cancelled_error() -> dict[str, Any]:
    message = "function cancelled"
    return {"error": message, "name": "Error", "message": message}
