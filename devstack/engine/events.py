"""Events in: checked, given ids, known ones recognised, and brought to whom they concern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devstack.engine.backoff import Timing
from devstack.engine.calls import to_json
from devstack.engine.functions import Cancellation, Function
from devstack.engine.model import Event, Run
from devstack.engine.runs import Runs
from devstack.engine.ulid import new_ulid, seeded_ulid
from devstack.engine.waits import matches

DEDUP_SECONDS = 24 * 3600.0
MAX_EVENT_BYTES = 512 * 1024
MAX_EVENTS = 5000
_FIELDS = ("data", "id", "name", "ts", "user", "v")


class EventRefusedError(ValueError):
    """The sender's events cannot be taken; none of them was."""


class Intake:
    """``functions`` is what is registered now."""

    def __init__(self, timing: Timing, functions: Mapping[str, Function], runs: Runs) -> None:
        self._timing = timing
        self._functions = functions
        self._runs = runs
        self._seen: dict[tuple[str, str], float] = {}

    def accept(self, body: Any, seed: str | None = None) -> list[str]:
        """Take one event or a list of them; their internal ids, in order.

        Raises EventRefusedError.
        """
        raw_events = body if isinstance(body, list) else [body]
        if len(raw_events) > MAX_EVENTS:
            raise EventRefusedError(f"more than {MAX_EVENTS} events in one request")
        accepted = []
        for index, raw in enumerate(raw_events):
            internal_id = seeded_ulid(seed, index) if seed else None
            internal_id = internal_id or new_ulid(self._timing.clock(), self._timing.rng)
            accepted.append((internal_id, self._checked(raw, internal_id)))
        for _, event in accepted:
            self.route(event)
        return [internal_id for internal_id, _ in accepted]

    def route(self, event: Event, trace_id: str | None = None) -> None:
        """Bring an event to the runs that wait for it or end with it, then start new ones."""
        self._runs.waits.event_came(event)
        self._cancel_runs(event)
        for function in list(self._functions.values()):
            if _triggers(function, event) and self._is_first(function, event):
                self._runs.start(function, event, trace_id)

    def _checked(self, raw: Any, internal_id: str) -> Event:
        if not isinstance(raw, Mapping):
            raise EventRefusedError("an event must be a JSON object")
        if not raw.get("name"):
            raise EventRefusedError("event name is empty")
        event = {key: raw[key] for key in _FIELDS if raw.get(key) is not None}
        event = {"data": {}, "id": internal_id, "ts": int(self._timing.clock() * 1000)} | event
        wrong = _wrongly_typed(event)
        if wrong:
            raise EventRefusedError(f"event {wrong} has the wrong type")
        event["id"] = event["id"] or internal_id
        if len(to_json(event)) > MAX_EVENT_BYTES:
            raise EventRefusedError(f"event is over the max size of {MAX_EVENT_BYTES} bytes")
        return event

    def _cancel_runs(self, event: Event) -> None:
        known = self._runs.functions.known
        if not any(c.event == event["name"] for f in known.values() for c in f.cancellations):
            return
        for run in self._runs.open_runs():
            cancellations = known[run.function_id].cancellations
            age = self._timing.clock() - run.started_at
            if any(_cancels(cancellation, run, age, event) for cancellation in cancellations):
                self._runs.cancel(run)

    def _is_first(self, function: Function, event: Event) -> bool:
        """Whether the function has not been started by this event, or its key, within 24 hours."""
        self._forget_old()
        keys = [(function.id, f"id:{event['id']}")]
        if function.idempotency is not None:
            keys.append((function.id, f"key:{function.idempotency({'event': event})!r}"))
        if any(key in self._seen for key in keys):
            return False
        self._seen.update(dict.fromkeys(keys, self._timing.clock()))
        return True

    def _forget_old(self) -> None:
        horizon = self._timing.clock() - DEDUP_SECONDS
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > horizon:
                return
            del self._seen[oldest]


def _cancels(cancellation: Cancellation, run: Run, age_seconds: float, event: Event) -> bool:
    timeout = cancellation.timeout_seconds
    return (
        cancellation.event == event["name"]
        and (timeout is None or age_seconds <= timeout)
        and matches(cancellation.matches, run.event, event)
    )


def _triggers(function: Function, event: Event) -> bool:
    scope = {"event": event}
    return any(
        trigger.event == event["name"]
        and (trigger.matches is None or trigger.matches(scope) is True)
        for trigger in function.event_triggers
    )


def _wrongly_typed(event: Event) -> str | None:
    types = {"name": str, "data": dict, "id": str, "ts": int, "user": dict, "v": str}
    return next((key for key, value in event.items() if not isinstance(value, types[key])), None)
