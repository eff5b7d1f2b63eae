"""Concurrency, cancellation and cron."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import inngest
import pytest

pytestmark = pytest.mark.anyio


class Meter:
    """How many calls of each key are under way, and the most there ever were."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []
        self._lock = threading.Lock()

    def pass_through(self, key: str, label: str = "") -> None:
        with self._lock:
            self.order.append(label)
            self.now[key] += 1
            self.most[key] = max(self.most[key], self.now[key])
        threading.Event().wait(0.01)
        with self._lock:
            self.now[key] -= 1


async def test_calls_of_one_key_never_overlap_and_other_keys_do(lab: Any) -> None:
    meter = Meter()
    limit = inngest.Concurrency(limit=1, key="event.data.orderId", scope="fn")

    @lab.app.function("song", concurrency=[limit])
    def song(ctx: inngest.ContextSync) -> None:
        key = str(ctx.event.data["orderId"])
        for number in range(2):
            ctx.step.run(f"s{number}", lambda: meter.pass_through(key))
            ctx.step.run(f"t{number}", lambda: meter.pass_through("all"))

    await lab.go(*({"orderId": key} for key in "aaabbb"))

    assert (meter.most["a"], meter.most["b"]) == (1, 1)
    assert meter.most["all"] == 2
    assert all(run.status == "completed" for run in lab.runs_of("song"))


async def test_a_limit_without_a_key_holds_for_the_function(lab: Any) -> None:
    meter = Meter()

    @lab.app.function("song", concurrency=[inngest.Concurrency(limit=2)])
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.run("s", lambda: meter.pass_through("all"))

    await lab.go(*({} for _ in range(6)))

    assert meter.most["all"] == 2


async def test_two_limits_hold_together(lab: Any) -> None:
    meter = Meter()
    limits = [inngest.Concurrency(limit=2), inngest.Concurrency(limit=1, key="event.data.k")]

    @lab.app.function("song", concurrency=limits)
    def song(ctx: inngest.ContextSync) -> None:
        def body() -> None:
            meter.pass_through(str(ctx.event.data["k"]))

        ctx.step.run("s", body)

    await lab.go(*({"k": key} for key in "aabbcc"))

    assert set(meter.most.values()) == {1}


async def test_another_run_may_start_between_two_steps(lab: Any) -> None:
    meter = Meter()
    limit = inngest.Concurrency(limit=1, key="event.data.k")

    @lab.app.function("song", concurrency=[limit])
    def song(ctx: inngest.ContextSync) -> None:
        for step in "12":
            label = f"{ctx.event.data['n']}{step}"
            ctx.step.run(step, meter.pass_through, "k", label)

    await lab.go({"k": 1, "n": "a"}, {"k": 1, "n": "b"})

    assert meter.order == ["a1", "b1", "a2", "b2"]


async def test_no_slot_is_held_while_a_run_waits_for_its_retry(open_lab: Any) -> None:
    lab = await open_lab(retry_interval_seconds=30, time_scale=0.01)
    order: list[str] = []

    @lab.app.function("song", concurrency=[inngest.Concurrency(limit=1)])
    def song(ctx: inngest.ContextSync) -> None:
        order.append(f"{ctx.event.data['n']}{ctx.attempt}")
        if ctx.event.data["n"] == "a" and ctx.attempt == 0:
            raise ValueError("again")

    await lab.go({"n": "a"}, {"n": "b"})

    assert order == ["a0", "b0", "a1"]


@pytest.fixture
async def stoppable(lab: Any) -> Any:
    """A lab whose function is in its first step; ``lab.gate`` lets the step end."""
    lab.entered, lab.gate, lab.bodies = threading.Event(), threading.Event(), []
    cancel = inngest.Cancel(
        event="lab/stop", if_exp="async.data.orderId == event.data.orderId", timeout=3_600_000
    )

    @lab.app.function("song", cancel=[cancel], on_failure=lambda ctx: None)
    def song(ctx: inngest.ContextSync) -> None:
        def first() -> None:
            lab.entered.set()
            lab.gate.wait(5)
            lab.bodies.append("first")

        ctx.step.run("first", first)
        ctx.step.run("second", lambda: lab.bodies.append("second"))

    cancelled = inngest.TriggerEvent(event="inngest/function.cancelled")
    lab.app.function("watch", trigger=cancelled)(lambda ctx: ctx.event.data)
    await lab.serve()
    await lab.send({"orderId": "a"})
    assert await asyncio.to_thread(lab.entered.wait, 5)
    yield lab
    lab.gate.set()


async def test_a_cancelling_event_ends_the_run_before_its_next_step(stoppable: Any) -> None:
    lab = stoppable
    await lab.send({"orderId": "a"}, name="lab/stop")
    (run,) = lab.runs_of("song")

    assert run.status == "cancelled"
    with pytest.raises(TimeoutError, match=run.id):  # Its step is still executing.
        await lab.engine.wait_idle(0.05)
    lab.gate.set()
    await lab.engine.wait_idle(10)

    assert lab.bodies == ["first"]
    assert (run.status, run.step_names, len(run.calls)) == ("cancelled", [], 1)


async def test_a_cancelled_run_emits_cancelled_and_never_failed(stoppable: Any) -> None:
    lab = stoppable
    await lab.send({"orderId": "a"}, name="lab/stop")
    lab.gate.set()
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("song")
    (watch,) = lab.runs_of("watch")
    assert watch.output["run_id"] == run.id
    assert watch.output["_inngest"] == {"status": "Cancelled"}
    assert not lab.runs_of("song-failure")
    assert ("cancelled", None, 0) in lab.updates


@pytest.mark.parametrize("name", ["lab/stop", "lab/other"])
async def test_an_event_that_does_not_match_cancels_nothing(stoppable: Any, name: str) -> None:
    lab = stoppable
    await lab.send({"orderId": "b"}, name=name)
    lab.gate.set()
    await lab.engine.wait_idle(10)

    assert lab.bodies == ["first", "second"]


async def test_a_cancelling_event_that_comes_too_late_cancels_nothing(open_lab: Any) -> None:
    now = [1_800_000_000.0]
    lab = await open_lab(clock=lambda: now[0])
    cancel = inngest.Cancel(event="lab/stop", timeout=60_000)

    @lab.app.function("song", cancel=[cancel])
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.wait_for_event("x", event="lab/x", timeout=timedelta(days=1))

    await lab.go()
    now[0] += 61
    await lab.send(name="lab/stop")
    (run,) = lab.runs_of("song")
    assert run.status == "running"
    now[0] -= 2
    await lab.send(name="lab/stop")

    assert run.status == "cancelled"


async def test_a_run_that_waits_is_cancelled_at_once(open_lab: Any) -> None:
    lab = await open_lab(retry_interval_seconds=3600, time_scale=1)

    @lab.app.function("song", cancel=[inngest.Cancel(event="lab/stop")])
    def song(ctx: inngest.ContextSync) -> None:
        raise ValueError("again in an hour")

    await lab.serve()
    await lab.send()
    (run,) = lab.runs_of("song")
    while not run.calls:
        await asyncio.sleep(0.005)
    await lab.send(name="lab/stop")
    await lab.engine.wait_idle(1)

    assert (run.status, len(run.calls)) == ("cancelled", 1)


async def test_a_run_in_the_queue_for_a_slot_is_cancelled_without_a_call(lab: Any) -> None:
    entered, gate = threading.Event(), threading.Event()
    cancel = inngest.Cancel(event="lab/stop", if_exp="async.data.n == event.data.n")

    @lab.app.function("song", cancel=[cancel], concurrency=[inngest.Concurrency(limit=1)])
    def song(ctx: inngest.ContextSync) -> None:
        entered.set()
        gate.wait(5)

    await lab.serve()
    await lab.send({"n": 0}, {"n": 1}, {"n": 2})
    assert await asyncio.to_thread(entered.wait, 5)
    await lab.send({"n": 1}, name="lab/stop")
    gate.set()
    await lab.engine.wait_idle(10)

    runs = lab.runs_of("song")
    assert [run.status for run in runs] == ["completed", "cancelled", "completed"]
    assert [len(run.calls) for run in runs] == [1, 0, 1]


async def test_a_cron_function_is_called_on_the_minute(open_lab: Any) -> None:
    start = datetime(2026, 11, 23, 12, 36, 59, 900_000, tzinfo=UTC).timestamp()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    lab = await open_lab(run_cron=True, clock=lambda: start + loop.time() - begun)
    trigger = inngest.TriggerCron(cron="* * * * *")
    lab.app.function("sweep", trigger=trigger)(lambda ctx: ctx.event.data)
    await lab.serve()
    while not lab.runs_of("sweep"):
        await asyncio.sleep(0.01)
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("sweep")
    assert run.event == {
        "name": "inngest/scheduled.timer",
        "id": "2026-11-23T12:37:00Z",
        "data": {
            "cron": "* * * * *",
            "fireAt": "2026-11-23T12:37:00Z",
            "scheduledAt": "2026-11-23T12:37:00Z",
        },
        "ts": 1795437420000,
    }


async def test_cron_timers_do_not_keep_the_engine_busy_and_end_with_it(open_lab: Any) -> None:
    lab = await open_lab(run_cron=True)
    trigger = inngest.TriggerCron(cron="TZ=Europe/Rome 0 12 * * *")
    lab.app.function("sweep", trigger=trigger)(lambda ctx: None)
    await lab.serve()

    await lab.engine.wait_idle(0.1)

    assert not lab.engine.runs


async def test_a_tick_that_falls_while_the_engine_is_away_is_lost(open_lab: Any) -> None:
    loop = asyncio.get_running_loop()
    start = datetime(2026, 11, 23, 12, 36, 59, 950_000, tzinfo=UTC).timestamp() - loop.time()
    lab = await open_lab(run_cron=True, clock=lambda: start + loop.time())
    trigger = inngest.TriggerCron(cron="* * * * *")
    lab.app.function("sweep", trigger=trigger)(lambda ctx: None)
    await lab.serve()

    lab.engine.away = True
    await asyncio.sleep(0.1)
    lab.engine.away = False

    assert not lab.engine.runs


async def test_a_cron_function_can_be_fired_by_hand(lab: Any) -> None:
    trigger = inngest.TriggerCron(cron="*/2 * * * *")
    lab.app.function("sweep", trigger=trigger)(lambda ctx: ctx.event.data["cron"])
    lab.app.function("song")(lambda ctx: None)
    await lab.serve()

    run_id = lab.engine.fire_cron("lab-sweep")
    await lab.engine.wait_idle(10)

    assert lab.engine.runs[run_id].output == "*/2 * * * *"
    with pytest.raises(ValueError, match="no cron trigger"):
        lab.engine.fire_cron("lab-song")
