"""Measures the whole pipeline: gunicorn, PostgreSQL, PostgREST, the engine and the clients.

``python -m bench`` prints one line for each case. Figures depend on the machine and on what else
runs on it; compare them only with others of the same machine.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.memory import app_memory
from devstack.payments import events
from devstack.payments.objects import Json, checkout_session
from devstack.stack import Options, Stack

OPTIONS = Options(
    retry_interval_seconds=1.0,
    run_cron=False,
    app_threads=100,
    app_environ={"LOG_LEVEL": "WARNING"},
)
_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class Measured:
    """Of one batch of orders: each webhook's seconds, sorted; the webhooks' and the whole time."""

    webhooks: list[float]
    webhooks_seconds: float
    total_seconds: float

    def percentile(self, percent: float) -> float:
        """In milliseconds."""
        position = min(len(self.webhooks) - 1, int(len(self.webhooks) * percent / 100))
        return self.webhooks[position] * 1000


class Bench:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def orders(self, number: int, *, song_takes: float, clients: int) -> Measured:
        """Places that many orders from that many clients, and waits for all their songs."""
        self._stack.provider.compose_seconds = song_takes
        placed = self._events(number)
        began = time.monotonic()
        webhooks = self._stack.loop.run(self._deliver(placed, clients))
        webhooks_seconds = time.monotonic() - began
        self._finish()
        return Measured(sorted(webhooks), webhooks_seconds, time.monotonic() - began)

    def webhooks_beside_slow_orders(self, slow: int, number: int) -> list[float]:
        """Seconds of webhooks that come one by one while slow orders are being generated."""
        self._stack.provider.compose_seconds = 8.0
        self._stack.loop.run(self._deliver(self._events(slow), slow))
        time.sleep(1.5)  # until all of them wait for the provider
        webhooks = self._stack.loop.run(self._deliver(self._events(number), 1))
        self._finish()
        return sorted(webhooks)

    def memory(self) -> str:
        memory = app_memory(self._stack.folder / "gunicorn.pid")
        return f"{memory.proportional_mb} MB proportional, {memory.resident_mb} MB resident"

    def _events(self, number: int) -> list[Json]:
        return [
            events.checkout_completed(
                checkout_session(user_id=c.user_id, customization_id=c.customization_id)
            )
            for c in self._stack.shop.add_customers(number)
        ]

    async def _deliver(self, placed: Iterable[Json], clients: int) -> list[float]:
        waiting = iter(placed)
        seconds: list[float] = []

        async def client() -> None:
            for event in waiting:
                attempt = await self._stack.sender.deliver_once(event)
                if attempt.status != 200:
                    raise RuntimeError(f"the webhook answered {attempt.status}")
                seconds.append(attempt.seconds)

        await asyncio.gather(*(client() for _ in range(clients)))
        return seconds

    def _finish(self) -> None:
        self._stack.loop.run(self._stack.engine.wait_idle(_PATIENCE_SECONDS))
        states = {row["status"] for row in self._stack.shop.orders()}
        if states != {"completed"}:
            raise RuntimeError(f"orders ended as {sorted(states)}")
        self._stack.loop.call(self._stack.engine.forget_finished)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), OPTIONS) as stack:
        stack.faults.record = False
        bench = Bench(stack)
        bench.orders(10, song_takes=0.0, clients=5)  # warm
        one = bench.orders(1, song_takes=2.0, clients=1)
        print(f"one order, 2 s a song: {one.total_seconds:.2f} s")
        forty = bench.orders(40, song_takes=1.0, clients=40)
        print(f"40 orders at once, 1 s a song: {forty.total_seconds:.2f} s")
        bench.orders(49, song_takes=0.2, clients=8)
        print(f"memory of the app after 100 orders: {bench.memory()}")
        many = bench.orders(200, song_takes=1.0, clients=50)
        print(f"200 orders at once, 1 s a song: {200 / many.total_seconds:.1f} orders/s")
        rush = bench.orders(300, song_takes=1.0, clients=16)
        print(
            f"300 webhooks from 16 clients, pipeline running: {300 / rush.webhooks_seconds:.0f}/s, "
            f"p50 {rush.percentile(50):.0f} ms, p99 {rush.percentile(99):.0f} ms"
        )
        quiet = bench.webhooks_beside_slow_orders(20, 50)
        print(
            f"webhook beside 20 slow orders: p50 {quiet[25] * 1000:.0f} ms, "
            f"max {quiet[-1] * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
