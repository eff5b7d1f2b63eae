"""Runs that wait for an event, and where the event finds them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from devstack.engine.expressions import Evaluate
from devstack.engine.model import Event, Run


def matches(expression: Evaluate | None, run_event: Event, new_event: Event) -> bool:
    """Whether a new event (``async``) fits a run that ``run_event`` (``event``) started."""
    return expression is None or expression({"event": run_event, "async": new_event}) is True


@dataclass(frozen=True, eq=False)
class _Wait:
    run: Run
    expression: Evaluate | None
    arrival: asyncio.Future[Event]


class Waits:
    def __init__(self) -> None:
        self._by_event: dict[str, list[_Wait]] = {}
        self._by_invocation: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def for_event(self, run: Run, name: str, expression: Evaluate | None) -> Event:
        wait = _Wait(run, expression, asyncio.get_running_loop().create_future())
        self._by_event.setdefault(name, []).append(wait)
        try:
            return await wait.arrival
        finally:
            self._by_event[name].remove(wait)
            if not self._by_event[name]:
                del self._by_event[name]

    def event_came(self, event: Event) -> None:
        for wait in self._by_event.get(event["name"], ()):
            if not wait.arrival.done() and matches(wait.expression, wait.run.event, event):
                wait.arrival.set_result(event)

    async def for_invocation(self, correlation_id: str) -> dict[str, Any]:
        """The memo of the function that was invoked, once it has ended."""
        result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._by_invocation[correlation_id] = result
        try:
            return await result
        finally:
            del self._by_invocation[correlation_id]

    def invocation_ended(self, correlation_id: str, memo: dict[str, Any]) -> None:
        result = self._by_invocation.get(correlation_id)
        if result is not None and not result.done():
            result.set_result(memo)
