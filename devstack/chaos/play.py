"""Plays a wave of schedules against one stack, all at once, and waits until every order has ended.

Time is scaled: the app is started with timeouts of tenths of a second, and the engine retries at
once. Nothing is patched: it is the app that production runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devstack.chaos.directory import GENERATE, Directory
from devstack.chaos.order import Order
from devstack.chaos.schedule import Delivery, Schedule, draw_schedule, tag
from devstack.engine.model import Run
from devstack.payments import events as stripe_events
from devstack.payments.objects import Json
from devstack.shop import SAMPLE_CUSTOMIZATION
from devstack.stack import Options, Stack

RECONCILE = "songswipe-reconcile-orders"

Draw = Callable[[int, int], Schedule]

OPTIONS = Options(
    retry_interval_seconds=0.05,
    time_scale=0.05,
    song_seconds=0.3,
    run_cron=False,
    app_workers=2,
    app_threads=96,
    app_environ={
        "SUPABASE_TIMEOUT_SECONDS": "0.9",
        "WEBHOOK_BUDGET_SECONDS": "1.0",
        "MUSIC_CONNECT_TIMEOUT_SECONDS": "0.5",
        "MUSIC_READ_TIMEOUT_SECONDS": "0.9",
        "MUSIC_TOTAL_TIMEOUT_SECONDS": "1.2",
        "PATIENCE_SECONDS": "0.15",
        "HANDOVER_GRACE_SECONDS": "1",
        "GENERATION_DEADLINE_SECONDS": "6",
        "MAX_REDRIVES": "3",
        "LOG_LEVEL": "WARNING",
    },
)

_SWEEP_EVERY_SECONDS = 1.0
_SETTLE_WITHIN_SECONDS = 300.0
_AT_ONCE = 28
_REDELIVERIES = 60
_REDELIVERY_SECONDS = 0.4
_WORLD_EVENT_CHANCE = 1 / 60  # per schedule that starts
_UNFINISHED = """
    select count(*) as number from public.orders o where o.status in ('paid', 'generating')
"""


@dataclass(frozen=True)
class Wave:
    """The orders of one wave, with what is needed to judge them."""

    orders: list[Order]
    runs: list[Run]
    songs_composed: dict[int, int]
    settled: bool
    world: list[tuple[float, str]]


class Player:
    """``draw`` makes a schedule from the seed and its number; another one plays hand-made ones."""

    def __init__(self, stack: Stack, seed: int, draw: Draw = draw_schedule) -> None:
        self._stack = stack
        self._seed = seed
        self._draw = draw
        self._directory = Directory()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._striking = asyncio.Lock()
        stack.engine.listeners.append(self._directory.heard)
        stack.faults.record = False
        stack.faults.add(self._directory.rule)

    def play(self, numbers: range) -> Wave:
        """Plays the schedules with these numbers to their end."""
        orders = list(self._place(numbers))
        self._directory.open(orders)
        self._stack.sender.retry_delays_seconds = (_REDELIVERY_SECONDS,) * _REDELIVERIES
        settled = self._stack.loop.run(self._play(orders, numbers))
        composed: dict[int, int] = {}
        for call in self._stack.provider.calls:
            order = self._directory.of_prompt(call.prompt.encode())
            if call.outcome == "composed" and order is not None:
                number = order.schedule.number
                composed[number] = composed.get(number, 0) + 1
        runs = list(self._stack.engine.runs.values())
        return Wave(orders, runs, composed, settled, self._directory.world)

    def forget(self) -> None:
        """Empties the world for the next wave."""
        self._stack.shop.empty()
        self._stack.shop.rows("truncate storage.objects")
        self._stack.loop.call(self._stack.engine.forget_finished)
        self._stack.provider.calls.clear()

    def _place(self, numbers: range) -> Iterator[Order]:
        memories = SAMPLE_CUSTOMIZATION["special_memories"]
        customers = self._stack.shop.add_customers(len(numbers))
        for number, customer in zip(numbers, customers, strict=True):
            yield Order.place(self._draw(self._seed, number), customer, self._seed)
            self._stack.shop.rows(
                "update public.customizations set special_memories = %s where id = %s",
                f"{memories} {tag(number)}",
                customer.customization_id,
            )

    async def _play(self, orders: list[Order], numbers: range) -> bool:
        world = random.Random(f"{self._seed}/world/{numbers.start}")
        sweeping = asyncio.create_task(self._sweep_for_ever())
        try:
            async with asyncio.TaskGroup() as group:
                for order in orders:
                    await self._room.acquire()
                    group.create_task(self._play_order(order))
                    if world.random() < _WORLD_EVENT_CHANCE:
                        group.create_task(self._strike(world.choice(_WORLD_EVENTS)))
            return await self._settle()
        finally:
            sweeping.cancel()

    async def _play_order(self, order: Order) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for delivery in order.schedule.deliveries:
                    group.create_task(self._deliver(order, delivery))
                for seconds in order.schedule.replays_at_seconds:
                    group.create_task(self._replay(order, seconds))
            await self._runs_ended(order)
        finally:
            self._room.release()

    async def _deliver(self, order: Order, delivery: Delivery) -> None:
        await asyncio.sleep(delivery.at_seconds)
        event = build_event(delivery.event, order.session)

        async def send() -> None:
            done = await self._stack.sender.deliver(event)
            tries = [str(attempt.status) for attempt in done.attempts]
            order.note(self._directory.seconds, f"delivered {delivery.event}: {' '.join(tries)}")

        async with asyncio.TaskGroup() as group:
            for _ in range(delivery.copies):
                group.create_task(send())

    async def _replay(self, order: Order, after_seconds: float) -> None:
        """An operator's replay in the dashboard, also while the run is going on."""
        await asyncio.sleep(after_seconds)
        for run in list(order.runs.values())[:1]:
            order.note(self._directory.seconds, f"replay of run {run.id[-4:]}")
            self._stack.engine.duplicate_run(run.id)

    async def _runs_ended(self, order: Order) -> None:
        """Keeps the order's place for a few seconds, so that the wave is not one big heap."""
        for _ in range(20):
            if all(run.ended for run in order.runs.values()):
                return
            await asyncio.sleep(0.1)

    async def _strike(self, what: str) -> None:
        async with self._striking:
            await self._strike_alone(what)

    async def _strike_alone(self, what: str) -> None:
        self._directory.note_world(what)
        match what:
            case "app killed":
                await asyncio.to_thread(self._stack.app.kill)
                await asyncio.to_thread(self._stack.app.start)
            case "database away":
                await asyncio.to_thread(self._stack.postgres.pause)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(self._stack.postgres.resume)
            case "Inngest away":
                self._stack.engine.away = True
                await asyncio.sleep(2.0)
                self._stack.engine.away = False
        self._directory.note_world(f"{what}: over")

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY_SECONDS)
            if not self._stack.engine.away:
                self._stack.engine.fire_cron(RECONCILE)

    async def _settle(self) -> bool:
        """Until no order is open, no run goes on and the sweep has looked once more."""
        async with asyncio.timeout(_SETTLE_WITHIN_SECONDS * 2):
            for _ in range(int(_SETTLE_WITHIN_SECONDS)):
                await asyncio.sleep(1.0)
                if await asyncio.to_thread(self._all_ended):
                    await asyncio.sleep(3 * _SWEEP_EVERY_SECONDS)
                    return await asyncio.to_thread(self._all_ended)
        return False

    def _all_ended(self) -> bool:
        runs = self._stack.engine.runs_of(GENERATE)
        unfinished = self._stack.shop.rows(_UNFINISHED)[0]["number"]
        return unfinished == 0 and all(run.ended for run in runs)


_WORLD_EVENTS = ("app killed", "app killed", "database away", "Inngest away")


def build_event(name: str, session: Json) -> Json:
    payment_intent = session["payment_intent"]
    match name:
        case "charge_refunded":
            return stripe_events.charge_refunded(
                payment_intent, amount=session["amount_total"],
                amount_refunded=session["amount_total"])  # fmt: skip
        case "part_refunded":
            return stripe_events.charge_refunded(
                payment_intent, amount=session["amount_total"],
                amount_refunded=session["amount_total"] // 2)  # fmt: skip
        case "refund_created":
            return stripe_events.refund_created(payment_intent, amount=session["amount_total"])
        case "dispute_created":
            return stripe_events.dispute_created(payment_intent, amount=session["amount_total"])
        case _:
            built: Json = getattr(stripe_events, name)(session)
            return built
