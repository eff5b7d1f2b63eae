"""Bounded insistence and bounded waiting, for the places where no engine retries for us."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TypeVar

from songswipe.errors import StoreUnavailableError

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Patience:
    """Repeats a call that is safe to repeat while the store is unavailable, for ``seconds``."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def insist(self, call: Callable[[], T]) -> T:
        """Raises the last StoreUnavailableError once the time is up; other errors at once."""
        give_up_at = self.clock() + self.seconds
        pause = min(_FIRST_PAUSE_SECONDS, self.seconds / 4)
        while True:
            try:
                return call()
            except StoreUnavailableError:
                if self.clock() + pause > give_up_at:
                    raise
            self.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class TimeBudget:
    """What is left of the time in which somebody has to have an answer."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + seconds

    @property
    def left_seconds(self) -> float:
        return max(self._ends_at - self._clock(), 0.0)


class DeadlineExceededError(Exception):
    """The call goes on in the background; nobody waits for it any more."""


class BoundedCaller:
    """Runs calls on threads of its own, so that the caller can stop waiting at a fixed time.

    A library's timeouts bound single reads, not the whole. A call that is given up either never
    starts or ends by those timeouts, so threads come back.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def call(self, function: Callable[[], T], timeout_seconds: float) -> T:
        """Raises DeadlineExceededError, or whatever ``function`` raises."""
        future = self._pool.submit(function)
        try:
            return future.result(timeout=timeout_seconds)
        except FutureTimeoutError:
            if future.done():
                # The function's own TimeoutError, not ours.
                raise
            future.cancel()
            raise DeadlineExceededError from None
