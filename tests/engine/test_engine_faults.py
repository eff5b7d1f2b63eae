"""What the engine does wrong when it is told to, and how it starts, plays dead and stops."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from typing import Any

import aiohttp
import inngest
import pytest

from devstack.engine import Engine, EngineBrokenError
from devstack.faults import Fault, FaultScript, always, times
from devstack.serving import PortTaken

pytestmark = pytest.mark.anyio


def to_service(service: str) -> Any:
    return lambda call: call.service == service


@pytest.fixture
async def faulty(open_lab: Any) -> Any:
    """A lab with a function of two steps that counts its bodies, and a fault script."""
    faults = FaultScript()
    lab = await open_lab(faults=faults)
    lab.faults, lab.bodies = faults, []

    @lab.app.function("song", retries=2)
    def song(ctx: inngest.ContextSync) -> str:
        for name in ("first", "second"):
            ctx.step.run(name, lab.bodies.append, name)
        return "done"

    return lab


def on(fault: Fault, service: str, number: int = 1) -> Any:
    return times(number, fault, to_service(service))


async def test_every_exchange_is_put_to_the_fault_script(faulty: Any) -> None:
    await faulty.serve()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{faulty.engine.url}/e/k", json=[{"name": "lab/go"}, {"name": "lab/x"}]),
    ):
        await faulty.engine.wait_idle(10)

    asked = [(call.service, call.detail) for call in faulty.faults.calls]
    assert asked == [
        ("events", "lab/go,lab/x"),
        ("step", "lab-song"),
        ("answer", "first"),
        ("repeat", "first"),
        ("step", "lab-song"),
        ("answer", "second"),
        ("repeat", "second"),
        ("step", "lab-song"),
        ("answer", ""),
    ]
    assert {call.path for call in faulty.faults.calls[1:]} == {"/api/inngest"}


async def test_a_call_cut_before_is_not_made_and_is_tried_again(faulty: Any) -> None:
    faulty.faults.add(on(Fault(cut="before"), "step"))

    run = await faulty.go()

    assert [(c.step, c.attempt, c.status) for c in run.calls][:2] == [
        (None, 0, None),
        ("first", 1, 206),
    ]
    assert (faulty.bodies, run.status) == (["first", "second"], "completed")
    assert len(faulty.app.received) == 3


async def test_a_status_in_place_of_a_call_is_not_made_either(faulty: Any) -> None:
    faulty.faults.add(on(Fault(status=503, headers={"Retry-After": "1"}), "step"))

    run = await faulty.go()

    assert [c.status for c in run.calls] == [503, 206, 206, 200]
    assert faulty.bodies == ["first", "second"]


@pytest.mark.parametrize("service", ["step", "answer"])
async def test_an_answer_that_is_lost_makes_the_body_run_again(faulty: Any, service: str) -> None:
    faulty.faults.add(on(Fault(cut="after"), service))

    run = await faulty.go()

    assert [(c.step, c.attempt, c.status) for c in run.calls][:2] == [
        (None, 0, None),
        ("first", 1, 206),
    ]
    assert faulty.bodies == ["first", "first", "second"]
    assert run.status == "completed"


async def test_a_lost_result_of_the_function_makes_it_return_again(faulty: Any) -> None:
    faulty.faults.add(
        times(1, Fault(cut="after"), lambda call: call.service == "answer" and not call.detail)
    )

    run = await faulty.go()

    assert [c.status for c in run.calls] == [206, 206, None, 200]
    assert run.output == "done"


async def test_an_answer_can_be_made_a_status_of_a_proxy(faulty: Any) -> None:
    faulty.faults.add(on(Fault(status=502), "answer"))

    run = await faulty.go()

    assert [c.status for c in run.calls] == [502, 206, 206, 200]
    assert faulty.bodies == ["first", "first", "second"]


async def test_too_many_lost_answers_fail_the_run(faulty: Any) -> None:
    faulty.faults.add(always(Fault(cut="after"), to_service("answer")))

    run = await faulty.go()

    assert (run.status, len(run.calls)) == ("failed", 3)


async def test_a_repeat_makes_the_same_call_twice_and_hears_it_once(faulty: Any) -> None:
    faulty.faults.add(on(Fault(), "repeat"))

    run = await faulty.go()

    assert [(c.step, c.repeated) for c in run.calls] == [
        ("first", False),
        ("first", True),
        ("second", False),
        (None, False),
    ]
    assert faulty.bodies == ["first", "first", "second"]
    assert run.step_names == ["first", "second"]
    first, again = faulty.app.received[:2]
    assert first.body == again.body


async def test_a_delay_holds_a_call_back(faulty: Any) -> None:
    faulty.faults.add(on(Fault(delay_seconds=0.05), "step"))
    faulty.faults.add(on(Fault(delay_seconds=0.05), "answer"))
    faulty.faults.add(on(Fault(delay_seconds=0.05), "repeat"))

    before = asyncio.get_running_loop().time()
    await faulty.go()

    assert asyncio.get_running_loop().time() - before > 0.15


async def test_an_operator_can_run_the_same_event_again(faulty: Any) -> None:
    first = await faulty.go({"orderId": "o-1"})

    second = faulty.engine.runs[faulty.engine.duplicate_run(first.id)]
    await faulty.engine.wait_idle(10)

    assert second.id != first.id
    assert (second.event, second.status) == (first.event, "completed")


async def post(lab: Any) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{lab.engine.url}/e/k", json={"name": "lab/go", "id": "e"}) as answer,
    ):
        await answer.read()
        return answer.status


async def test_events_can_be_refused_with_a_status(faulty: Any) -> None:
    await faulty.serve()
    faulty.faults.add(on(Fault(status=503, body=b"no", headers={"x-why": "fault"}), "events"))

    assert [await post(faulty), await post(faulty)] == [503, 200]
    await faulty.engine.wait_idle(10)
    assert len(faulty.engine.runs) == 1


@pytest.mark.parametrize(("cut", "runs"), [("before", 0), ("after", 1)])
async def test_events_can_be_cut_off(faulty: Any, cut: Any, runs: int) -> None:
    await faulty.serve()
    faulty.faults.add(on(Fault(cut=cut), "events"))

    with pytest.raises(aiohttp.ClientError):
        await post(faulty)

    await faulty.engine.wait_idle(10)
    assert len(faulty.engine.runs) == runs


async def test_answers_to_events_can_be_replaced_or_truncated(faulty: Any) -> None:
    faulty.faults.add(on(Fault(replace_body=True, body=b"[]"), "events"))
    faulty.faults.add(on(Fault(truncate=True), "events"))
    answers = []
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(f"{faulty.engine.url}/e/k", json={"name": "x"}) as answer:
                answers.append(await answer.text())

    assert answers[0] == "[]"
    assert answers[1].startswith('{"ids":')
    with pytest.raises(ValueError, match="line 1"):
        json.loads(answers[1])


async def test_the_sdk_gets_through_a_cut_and_starts_one_run(faulty: Any) -> None:
    await faulty.serve()
    faulty.faults.add(on(Fault(cut="after"), "events"))
    event = inngest.Event(name="lab/go")

    await asyncio.to_thread(faulty.app.client.send_sync, event)
    await faulty.engine.wait_idle(10)

    assert faulty.faults.count("events") == 2
    assert len(faulty.engine.runs) == 1


async def test_an_engine_that_is_away_cuts_the_app_off_and_starts_no_call(faulty: Any) -> None:
    await faulty.serve()
    await faulty.send()
    faulty.engine.away = True

    with pytest.raises(aiohttp.ClientError):
        await post(faulty)
    with pytest.raises(ConnectionError):
        await faulty.send()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"{faulty.engine.url}/fn/register", json={})
    with pytest.raises(TimeoutError, match=r"of lab-song \(queued\)"):
        await faulty.engine.wait_idle(0.05)
    assert not faulty.app.received
    faulty.engine.away = False
    await faulty.engine.wait_idle(10)

    (run,) = faulty.engine.runs.values()
    assert run.status == "completed"


async def test_an_engine_that_goes_away_during_a_step_still_hears_its_answer(lab: Any) -> None:
    entered, gate = threading.Event(), threading.Event()

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.run("first", lambda: entered.set() or gate.wait(5))
        ctx.step.run("second", lambda: None)

    await lab.serve()
    await lab.send()
    assert await asyncio.to_thread(entered.wait, 5)
    lab.engine.away = True
    gate.set()
    (run,) = lab.runs_of("song")
    while not run.step_names:
        await asyncio.sleep(0.005)
    assert len(run.calls) == 1
    lab.engine.away = False
    await lab.engine.wait_idle(10)

    assert run.status == "completed"


async def test_finished_runs_can_be_forgotten(faulty: Any) -> None:
    await faulty.serve()
    await faulty.engine.send({"name": "lab/go", "id": "e-1"})
    await faulty.engine.wait_idle(10)
    faulty.engine.away = True
    waiting = faulty.engine.duplicate_run(next(iter(faulty.engine.runs)))

    faulty.engine.forget_finished()

    assert list(faulty.engine.runs) == [waiting]
    faulty.engine.away = False
    await faulty.engine.send({"name": "lab/go", "id": "e-1"})
    await faulty.engine.wait_idle(10)
    assert list(faulty.engine.runs) == [waiting]


async def test_stop_cancels_everything_and_leaves_no_task(lab: Any) -> None:
    entered, gate = threading.Event(), threading.Event()
    limit = inngest.Concurrency(limit=1)

    @lab.app.function("song", concurrency=[limit])
    def song(ctx: inngest.ContextSync) -> None:
        entered.set()
        gate.wait(5)

    @lab.app.function("wait", event="lab/wait")
    def wait(ctx: inngest.ContextSync) -> None:
        ctx.group.parallel(
            (
                lambda: ctx.step.wait_for_event("x", event="x", timeout=60_000),
                lambda: ctx.step.sleep("y", 600_000),
            )
        )

    await lab.serve()
    await lab.send({}, {})
    await lab.send(name="lab/wait")
    assert await asyncio.to_thread(entered.wait, 5)
    (waiting,) = lab.runs_of("wait")
    while not waiting.calls:
        await asyncio.sleep(0.005)

    await lab.engine.stop()
    gate.set()

    assert {run.status for run in lab.engine.runs.values()} == {"cancelled"}
    # What is left is the test itself; aiohttp's own closing callbacks end within a turn or two.
    for _ in range(3):
        await asyncio.sleep(0)
    own = [t for t in asyncio.all_tasks() if "devstack" in repr(t.get_coro())]
    assert not own
    await lab.engine.wait_idle(0.1)


async def test_an_engine_can_be_started_again_and_knows_its_functions(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: "done")
    await lab.serve()
    port = lab.engine.port

    await lab.engine.stop()
    await lab.engine.start(port)
    await lab.send()
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("song")
    assert run.output == "done"


async def test_a_port_in_use_is_named_and_nothing_is_left_open(lab: Any) -> None:
    with pytest.raises(PortTaken, match="Inngest engine"):
        await Engine().start(lab.engine.port)


async def test_a_listener_that_raises_is_told_to_whoever_waits(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(run_cron=False)
    await engine.start()

    def listener(update: Any) -> None:
        raise ZeroDivisionError("of the listener")

    engine.listeners.append(listener)
    step = {"runtime": {"type": "http", "url": "http://127.0.0.1:9/x"}}
    config = {"id": "f", "triggers": [{"event": "x"}], "steps": {"step": step}}
    async with aiohttp.ClientSession() as session:
        body = {"appname": "a", "functions": [config]}
        await session.post(f"{engine.url}/fn/register", json=body)
    await engine.send({"name": "x"})

    with pytest.raises(EngineBrokenError, match="of the listener"):
        await engine.wait_idle(5)
    with pytest.raises(EngineBrokenError):
        await engine.stop()


async def test_one_seed_gives_the_same_ids_twice(open_lab: Any) -> None:
    ids = []
    for _ in range(2):
        lab = await open_lab(rng=random.Random(7), clock=lambda: 1_800_000_000.0)
        ids.append(await lab.engine.send({"name": "a"}, {"name": "b"}))

    assert ids[0] == ids[1]


async def test_logs_carry_ids_only(faulty: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "devstack")
    faulty.app.function("mail")(lambda ctx: ctx.event.data["missing secret"])

    await faulty.go({"name": "Ada Lovelace"})

    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "lab-song" in logged
    assert "Ada" not in logged
    assert "secret" not in logged
