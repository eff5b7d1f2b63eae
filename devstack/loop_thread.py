"""A plain, blocking face for servers that live on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_END_SECONDS = 2.0


class EventLoopThread:
    """An event loop that runs in a thread until it is closed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._made = threading.Event()
        self._thread = threading.Thread(target=self._live, name="devstack", daemon=True)
        self._thread.start()
        self._made.wait()

    def _live(self) -> None:
        # Made here, since a signal interrupts the main thread alone, and half a loop cannot even
        # be thrown away quietly.
        self._loop = asyncio.new_event_loop()
        self._made.set()
        self._loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_seconds: float | None = None) -> T:
        """Runs it on the loop and waits for its result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_seconds)
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Calls a plain function on the loop, where the servers' state may be touched."""

        async def called() -> T:
            return function()

        return self.run(called())

    def close(self) -> None:
        """Ends what is still waiting there, such as a call that a fault holds up, and the loop."""
        self.run(_end_other_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


async def _end_other_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_END_SECONDS)
