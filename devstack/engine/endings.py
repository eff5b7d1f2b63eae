"""The end of a run: the events that it makes, and the answer to the run that invoked it."""

from __future__ import annotations

from typing import Any

from devstack.engine.backoff import Timing
from devstack.engine.calls import with_user
from devstack.engine.model import (
    FUNCTION_CANCELLED,
    FUNCTION_FAILED,
    FUNCTION_FINISHED,
    FUNCTION_INVOKED,
    Event,
    Run,
)
from devstack.engine.ulid import new_ulid
from devstack.engine.waits import Waits

_STATUS_WORD = {"completed": "Completed", "failed": "Failed", "cancelled": "Cancelled"}


def end_events(run: Run, result: Any, timing: Timing) -> list[Event]:
    """``inngest/function.finished``, and ``…failed`` or ``…cancelled`` after it.

    The run of an end handler makes none: it would never stop.
    """
    if run.event["name"] in (FUNCTION_FAILED, FUNCTION_FINISHED):
        return []
    data = _end_data(run, result)
    events = [internal_event(FUNCTION_FINISHED, data, timing)]
    name = {"failed": FUNCTION_FAILED, "cancelled": FUNCTION_CANCELLED}.get(run.status)
    if name is not None:
        events.append(internal_event(name, data, timing) | {"id": run.id})
    return events


def internal_event(name: str, data: dict[str, Any], timing: Timing) -> Event:
    now = timing.clock()
    return {"data": data, "id": new_ulid(now, timing.rng), "name": name, "ts": int(now * 1000)}


def answer_invoker(run: Run, waits: Waits) -> None:
    """Give the run's result or error to the run that waits for it, if one invoked it."""
    invocation = run.event["data"].get("_inngest")
    if run.event["name"] != FUNCTION_INVOKED or not isinstance(invocation, dict):
        return
    memo: dict[str, Any] = {"data": run.output}
    if run.error is not None:
        memo = {"error": {key: run.error[key] for key in run.error if key != "error"}}
    waits.invocation_ended(str(invocation.get("correlation_id")), memo)


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
