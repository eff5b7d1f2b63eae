"""One event loop in a thread for every stand-in, so that tests can use blocking clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import pytest

from devstack.serving import LoopbackServer

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound=LoopbackServer)


class Run(Protocol):
    def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """Run a coroutine on the loop and wait for its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def serve(run: Run) -> Iterator[Callable[[ServerT], ServerT]]:
    """Start a server on a free port; it is stopped when the test ends."""
    started: list[LoopbackServer] = []

    def start(server: ServerT) -> ServerT:
        run(server.start())
        started.append(server)
        return server

    yield start
    for server in started:
        run(server.stop())
