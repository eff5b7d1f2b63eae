"""Cron functions: a timer for each, and the event that a tick is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from devstack.engine.backoff import Timing
from devstack.engine.functions import CronTrigger, Function
from devstack.engine.model import SCHEDULED_TIMER, Event, Run
from devstack.engine.runs import Runs


class CronTimers:
    """Starts cron functions on time. A tick that falls while the engine is away is lost."""

    def __init__(self, timing: Timing, runs: Runs) -> None:
        self._timing = timing
        self._runs = runs
        self._timers: dict[str, list[asyncio.Task[None]]] = {}

    def schedule(self, functions: Iterable[Function]) -> None:
        """Set the timers of these functions, in place of those they have."""
        for function in functions:
            self.drop(function.id)
            self._timers[function.id] = [
                self._runs.tasks.spawn_alone(self._keep_time(function, trigger))
                for trigger in function.cron_triggers
            ]

    def drop(self, function_id: str) -> None:
        for timer in self._timers.pop(function_id, []):
            timer.cancel()

    def fire(self, function: Function, trigger: CronTrigger, at: datetime) -> Run:
        return self._runs.start(function, _tick(trigger, at))

    async def _keep_time(self, function: Function, trigger: CronTrigger) -> None:
        at = trigger.next_after(self._timing.clock())
        while True:
            remaining = at.timestamp() - self._timing.clock()
            if remaining > 0:
                await asyncio.sleep(remaining)
                continue
            if self._runs.exchanges.present.is_set():
                self.fire(function, trigger, at)
            at = trigger.next_after(max(at.timestamp(), self._timing.clock()))


def _tick(trigger: CronTrigger, at: datetime) -> Event:
    at = at.astimezone(UTC).replace(microsecond=0)
    written = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "data": {"cron": trigger.expression, "fireAt": written, "scheduledAt": written},
        "id": written,
        "name": SCHEDULED_TIMER,
        "ts": int(at.timestamp() * 1000),
    }
