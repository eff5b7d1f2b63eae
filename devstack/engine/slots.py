"""Concurrency limits: slots that are held while a call executes, and handed on in turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

Slot = tuple[str, int]
"""A name, such as a function with a key's value, and how many may hold it at once."""


class Slots:
    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def acquire(self, slots: Sequence[Slot]) -> AsyncExitStack:
        """Hold one of each slot until the stack that is returned is closed."""
        async with AsyncExitStack() as stack:
            # In the order of names, so that two calls never hold what the other waits for.
            for name, limit in sorted(slots):
                await stack.enter_async_context(self._holding(name, limit))
            return stack.pop_all()

    @asynccontextmanager
    async def _holding(self, name: str, limit: int) -> AsyncIterator[None]:
        if self._held[name] >= limit:
            await self._turn(name)
        else:
            self._held[name] += 1
        try:
            yield
        finally:
            self._hand_on(name)

    async def _turn(self, name: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # The slot was handed over as the wait was given up.
                self._hand_on(name)
            raise

    def _hand_on(self, name: str) -> None:
        waiting = self._waiting.get(name, deque())
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(name, None)
        self._held[name] -= 1
        if self._held[name] == 0:
            del self._held[name]
