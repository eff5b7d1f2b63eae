"""The life of every run: its start, its end, and the events that its end emits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devstack.engine.backoff import Timing
from devstack.engine.calls import Caller, with_user
from devstack.engine.driver import Driver, RunFailed
from devstack.engine.exchange import Exchanges
from devstack.engine.model import (
    FUNCTION_CANCELLED,
    FUNCTION_FAILED,
    FUNCTION_FINISHED,
    FUNCTION_INVOKED,
    Event,
    Listener,
    Run,
    RunUpdate,
    UpdateKind,
)
from devstack.engine.registration import Function
from devstack.engine.tasks import Activity, Tasks
from devstack.engine.ulid import new_ulid
from devstack.engine.waits import Waits
from devstack.faults import FaultScript

logger = logging.getLogger(__name__)

_STATUS_WORD = {"completed": "Completed", "failed": "Failed", "cancelled": "Cancelled"}


class Runs:
    """Starts, cancels and ends runs. ``functions`` is what is registered now. ``emit`` gets the
    events that a run's end makes, with the run's trace id."""

    def __init__(
        self,
        timing: Timing,
        functions: Mapping[str, Function],
        caller: Caller,
        faults: FaultScript | None,
        emit: Callable[[Event, str], None],
    ) -> None:
        self.all: dict[str, Run] = {}
        # Also functions that are no longer registered, for the runs that are still open.
        self.known_functions: dict[str, Function] = {}
        self.listeners: list[Listener] = []
        self.tasks = Tasks()
        self.activity = Activity()
        self.waits = Waits()
        self.exchanges = Exchanges(
            caller, self.known_functions, faults, self.tasks, self.activity, self._tell
        )
        self._timing = timing
        self._functions = functions
        self._emit = emit
        self._open: dict[str, asyncio.Task[None]] = {}
        self._driver = Driver(
            self.exchanges, timing, self.waits, self.tasks, self.activity, self._tell, self._invoke
        )

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
        for run_id in [run.id for run in self.all.values() if run.ended]:
            if run_id not in self._open:
                del self.all[run_id]

    async def stop(self) -> None:
        for run in self.open_runs():
            run.status = "cancelled"
        await self.tasks.stop()

    async def _live(self, function: Function, run: Run) -> None:
        try:
            output = await self._driver.drive(function, run)
        except RunFailed as failed:
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
        self._emit_end(run, result)
        self._answer_invoker(run)

    def _emit_end(self, run: Run, result: Any) -> None:
        # An end handler's own end makes no such event: it would never stop.
        if run.event["name"] in (FUNCTION_FAILED, FUNCTION_FINISHED):
            return
        data = _end_data(run, result)
        finished_id = new_ulid(self._timing.clock(), self._timing.rng)
        self._emit(self._event(FUNCTION_FINISHED, data, finished_id), run.trace_id)
        name = {"failed": FUNCTION_FAILED, "cancelled": FUNCTION_CANCELLED}.get(run.status)
        if name is not None:
            self._emit(self._event(name, data, run.id), run.trace_id)

    def _event(self, name: str, data: dict[str, Any], event_id: str) -> Event:
        return {"data": data, "id": event_id, "name": name, "ts": int(self._timing.clock() * 1000)}

    def _invoke(self, function_id: str, payload: dict[str, Any], correlation_id: str) -> bool:
        function = self._functions.get(function_id)
        if function is None:
            return False
        invocation = {"correlation_id": correlation_id, "fn_id": function_id}
        data = {**(payload.get("data") or {}), "_inngest": invocation}
        event_id = new_ulid(self._timing.clock(), self._timing.rng)
        self.start(function, self._event(FUNCTION_INVOKED, data, event_id))
        return True

    def _answer_invoker(self, run: Run) -> None:
        invocation = run.event["data"].get("_inngest")
        if run.event["name"] != FUNCTION_INVOKED or not isinstance(invocation, dict):
            return
        memo: dict[str, Any] = {"data": run.output}
        if run.error is not None:
            memo = {"error": {k: v for k, v in run.error.items() if k != "error"}}
        self.waits.invocation_ended(str(invocation.get("correlation_id")), memo)

    def _tell(self, kind: UpdateKind, run: Run, step: str | None, attempt: int) -> None:
        update = RunUpdate(kind, run, step, attempt)
        for listener in list(self.listeners):
            listener(update)


def _end_data(run: Run, result: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "_inngest": {"status": _STATUS_WORD[run.status]},
        "event": with_user(run.event),
        "events": run.events,
        "function_id": run.function_id,
        "run_id": run.id,
    }
    if run.error is not None:
        data["error"] = run.error
    if run.error is None or result is not None:
        data["result"] = result
    return data


def _cancelled_error() -> dict[str, Any]:
    message = "function cancelled"
    return {"error": message, "name": "Error", "message": message}
