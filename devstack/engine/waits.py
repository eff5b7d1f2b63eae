"""Runs that wait for the world: for an event, or for the end of a run they invoked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from devstack.engine.expressions import Evaluate
from devstack.engine.model import Event, Run
from devstack.engine.tasks import Activity


def matches(expression: Evaluate | None, run_event: Event, new_event: Event) -> bool:
    """Whether a new event (``async``) fits a run that ``run_event`` (``event``) started."""
    return expression is None or expression({"event": run_event, "async": new_event}) is True


@dataclass(eq=False)
class _Wait:
    run: Run
    expression: Evaluate | None = None
    delivered: bool = False
    arrival: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Waits:
    """A run that waits here has no activity. It has again from the moment of delivery, not only
    from when its task gets to run: in between, the engine is not idle."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._for_events: dict[str, list[_Wait]] = {}
        self._for_invocations: dict[str, _Wait] = {}

    async def for_event(self, run: Run, name: str, expression: Evaluate | None) -> Event:
        wait = _Wait(run, expression)
        waiting = self._for_events.setdefault(name, [])
        waiting.append(wait)
        try:
            return await self._rest(wait)  # type: ignore[no-any-return]
        finally:
            waiting.remove(wait)

    async def for_invocation(self, run: Run, correlation_id: str) -> dict[str, Any]:
        """The memo of the invocation, once the invoked run has ended."""
        wait = self._for_invocations[correlation_id] = _Wait(run)
        try:
            return await self._rest(wait)  # type: ignore[no-any-return]
        finally:
            del self._for_invocations[correlation_id]

    def event_came(self, event: Event) -> None:
        for wait in self._for_events.get(event["name"], ()):
            if not wait.delivered and matches(wait.expression, wait.run.event, event):
                self._deliver(wait, event)

    def invocation_ended(self, correlation_id: str, memo: dict[str, Any]) -> None:
        wait = self._for_invocations.get(correlation_id)
        if wait is not None and not wait.delivered:
            self._deliver(wait, memo)

    async def _rest(self, wait: _Wait) -> Any:
        self._activity.end(wait.run.id)
        try:
            return await wait.arrival
        finally:
            if not wait.delivered:
                self._activity.begin(wait.run.id)

    def _deliver(self, wait: _Wait, value: Any) -> None:
        if wait.arrival.done():  # Given up, and its task has not run yet.
            return
        wait.delivered = True
        self._activity.begin(wait.run.id)
        wait.arrival.set_result(value)
