"""The engine's background tasks, and the question whether a run still has work to do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class EngineBrokenError(RuntimeError):
    """A background task of the engine ended with an exception: a fault of the engine itself."""


class Tasks:
    """Background tasks, none of which outlives ``stop``."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.crash: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn_alone(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Like ``spawn``, for a task that must not raise: what it raises all the same is kept."""
        task = self.spawn(work)
        task.add_done_callback(self._keep_crash)
        return task

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep_crash(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or (crash := task.exception()) is None:
            return
        logger.error("the engine broke", exc_info=crash)
        self.crash = self.crash or crash


class Activity:
    """Counts, for each run, the pieces of work that the engine has under way for it.

    A run that waits for an event has none: what it waits for is up to the world.
    """

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, run_id: str) -> None:
        self._under_way[run_id] += 1
        self._idle.clear()

    def end(self, run_id: str) -> None:
        self._under_way[run_id] -= 1
        if self._under_way[run_id] == 0:
            del self._under_way[run_id]
        if not self._under_way:
            self._idle.set()

    def busy_runs(self) -> list[str]:
        return list(self._under_way)

    async def wait_idle(self) -> None:
        while self._under_way:
            await self._idle.wait()


class SharedActivity:
    """A run's one piece of work, split among branches while they are under way.

    The branch that lets the run go on (the last to end, or the first to fail) hands its piece
    back, so that the run is never seen without work in between.
    """

    def __init__(self, activity: Activity, run_id: str, branches: int) -> None:
        self._activity = activity
        self._run_id = run_id
        self._under_way = branches
        self._handed_back = False
        for _ in range(branches - 1):
            activity.begin(run_id)

    def branch_ended(self, branch: asyncio.Task[None]) -> None:
        self._under_way -= 1
        failed = not branch.cancelled() and branch.exception() is not None
        if not self._handed_back and (failed or self._under_way == 0):
            self._handed_back = True
        else:
            self._activity.end(self._run_id)
