"""Operations other than plain steps: sleeps, waits, invocations and parallel groups."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import inngest
import pytest

pytestmark = pytest.mark.anyio


async def until_paused(lab: Any) -> Any:
    """The only run, once it waits for the world."""
    await lab.engine.wait_idle(10)
    (run,) = lab.runs_of("song")
    assert run.status == "running"
    return run


async def test_a_sleep_takes_its_time_scaled_and_is_memoized(open_lab: Any) -> None:
    lab = await open_lab(time_scale=0.001)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> str:
        ctx.step.sleep("rest", timedelta(seconds=100))
        return ctx.step.run("after", lambda: "awake")

    before = asyncio.get_running_loop().time()
    run = await lab.go()

    assert asyncio.get_running_loop().time() - before > 0.098
    assert (run.output, run.step_names) == ("awake", ["rest", "after"])
    assert [c.op for c in run.calls] == ["Sleep", "StepRun", None]
    assert ("step_finished", "rest", 0) in lab.updates


async def test_a_sleep_until_a_time_that_is_past_ends_at_once(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.sleep("rest", timedelta(seconds=-5))

    assert (await lab.go()).status == "completed"


async def test_a_wait_ends_with_the_event_that_fits(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        event = ctx.step.wait_for_event(
            "approval",
            event="lab/approved",
            if_exp="event.data.orderId == async.data.orderId",
            timeout=timedelta(days=1),
        )
        return event and event.data

    await lab.serve()
    await lab.send({"orderId": "a"})
    run = await until_paused(lab)
    await lab.send({"orderId": "b", "n": 1}, name="lab/approved")
    assert (await until_paused(lab)) is run
    await lab.send({"orderId": "a", "n": 2}, name="lab/approved")
    await lab.engine.wait_idle(10)

    assert run.output == {"orderId": "a", "n": 2}
    assert [c.op for c in run.calls] == ["WaitForEvent", None]


async def test_a_wait_that_times_out_ends_with_none(open_lab: Any) -> None:
    lab = await open_lab(time_scale=0.0001)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> bool:
        event = ctx.step.wait_for_event("approval", event="x", timeout=timedelta(minutes=5))
        return event is None

    await lab.go()
    (run,) = lab.runs_of("song")
    while not run.ended:
        await asyncio.sleep(0.005)

    assert run.output is True


async def test_a_wait_for_an_expression_not_understood_fails_the_run(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.wait_for_event("approval", event="x", if_exp="async.ts > 5", timeout=60_000)

    run = await lab.go()

    assert (run.status, len(run.calls)) == ("failed", 1)
    assert run.error is not None
    assert run.error["name"] == "CompileError"
    assert "> 5" in run.error["message"]


async def test_an_invoked_function_gives_its_result_to_the_step(lab: Any) -> None:
    @lab.app.function("mail", event="lab/never")
    def mail(ctx: inngest.ContextSync) -> Any:
        assert ctx.event.name == "inngest/function.invoked"
        return ctx.step.run("add", lambda: ctx.event.data["n"] + 1)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        return ctx.step.invoke("call", function=mail, data={"n": 1})

    run = await lab.go()

    assert (run.output, run.step_names) == (2, ["call"])
    assert [c.op for c in run.calls] == ["InvokeFunction", None]


async def test_an_invoked_function_that_fails_makes_the_step_fail(lab: Any) -> None:
    @lab.app.function("mail", event="lab/never", retries=0)
    def mail(ctx: inngest.ContextSync) -> Any:
        raise ValueError("no stamps")

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        try:
            ctx.step.invoke("call", function=mail)
        except inngest.StepError as error:
            return [error.name, error.message]

    assert (await lab.go()).output == ["ValueError", "no stamps"]


async def test_invoking_a_function_that_is_not_there_makes_the_step_fail(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: ctx.step.invoke_by_id("call", function_id="nobody"))

    run = await lab.go()

    assert run.error is not None
    assert "lab-nobody" in run.error["message"]


async def test_an_invocation_that_takes_too_long_makes_the_step_fail(open_lab: Any) -> None:
    lab = await open_lab(time_scale=0.001)

    @lab.app.function("mail", event="lab/never")
    def mail(ctx: inngest.ContextSync) -> None:
        ctx.step.wait_for_event("forever", event="x", timeout=timedelta(days=30))

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        ctx.step.invoke("call", function=mail, timeout=timedelta(seconds=50))

    await lab.go()
    (run,) = lab.runs_of("song")
    while not run.ended:
        await asyncio.sleep(0.005)

    assert run.error is not None
    assert "Timed out" in run.error["message"]


async def test_a_parallel_group_is_called_step_by_step_at_the_same_time(lab: Any) -> None:
    together = threading.Barrier(3)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        def one(number: int) -> int:
            together.wait(5)
            return number

        results = ctx.group.parallel(
            tuple(lambda n=n: ctx.step.run(f"variant-{n}", one, n) for n in range(3))
        )
        return [*results, ctx.step.run("finalize", lambda: "done")]

    run = await lab.go()

    assert run.output == [0, 1, 2, "done"]
    assert sorted(run.step_names[:3]) == ["variant-0", "variant-1", "variant-2"]
    planned = {op["id"] for op in lab.app.received[0].answer}
    targeted = lab.app.received[1:4]
    assert {r.query["stepId"] for r in targeted} == planned
    assert [r.body["ctx"]["disable_immediate_execution"] for r in targeted] == [True] * 3
    assert [r.query["stepId"] for r in lab.app.received[4:]] == ["step", "step"]
    assert [c.op for c in run.calls] == [
        "StepPlanned,StepPlanned,StepPlanned",
        *["StepRun"] * 4,
        None,
    ]


async def test_each_step_of_a_parallel_group_has_its_own_attempts(lab: Any) -> None:
    @lab.app.function("song", retries=2)
    def song(ctx: inngest.ContextSync) -> Any:
        def flaky(failures: int) -> int:
            if ctx.attempt < failures:
                raise ValueError("again")
            return ctx.attempt

        return ctx.group.parallel(
            tuple(lambda n=n: ctx.step.run(f"variant-{n}", flaky, n) for n in range(3))
        )

    run = await lab.go()

    assert run.output == [0, 1, 2]


async def test_a_member_that_fails_for_good_does_not_disturb_its_siblings(lab: Any) -> None:
    @lab.app.function("song", retries=1)
    def song(ctx: inngest.ContextSync) -> Any:
        def variant(number: int) -> int:
            if number == 1:
                raise ValueError("rejected")
            return number

        def guarded(number: int) -> Any:
            try:
                return ctx.step.run(f"variant-{number}", variant, number)
            except inngest.StepError as error:
                return error.message

        return ctx.group.parallel(tuple(lambda n=n: guarded(n) for n in range(3)))

    assert (await lab.go()).output == [0, "rejected", 2]


async def test_a_member_that_may_not_be_retried_fails_the_run_while_siblings_run_on(
    lab: Any,
) -> None:
    failed, finished = threading.Event(), threading.Event()

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        def slow() -> None:
            failed.wait(5)
            finished.set()

        def fatal() -> None:
            raise inngest.NonRetriableError("no")

        return ctx.group.parallel(
            (lambda: ctx.step.run("slow", slow), lambda: ctx.step.run("fatal", fatal))
        )

    lab.engine.listeners.append(lambda u: u.kind == "failed" and failed.set())
    run = await lab.go()

    assert run.status == "failed"
    assert finished.is_set()
    assert run.step_names == []
    assert [c.step for c in run.calls][1:] == [None, "slow"]


async def test_sleeps_and_waits_can_be_members_of_a_group(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        return ctx.group.parallel(
            (
                lambda: ctx.step.sleep("rest", timedelta(seconds=2)),
                lambda: ctx.step.run("work", lambda: "done"),
                lambda: ctx.step.wait_for_event("x", event="lab/x", timeout=60_000).data["n"],
            )
        )

    await lab.serve()
    await lab.send()
    run = await until_paused(lab)
    assert set(run.step_names) == {"rest", "work"}
    await lab.send({"n": 3}, name="lab/x")
    await lab.engine.wait_idle(10)

    assert run.output == [None, "done", 3]


async def test_a_planned_step_that_its_call_does_not_run_fails_the_run(lab: Any) -> None:
    planned = '[{"op":"StepPlanned","id":"a","name":"a"},{"op":"StepPlanned","id":"b","name":"b"}]'
    other = '[{"op":"StepRun","id":"c","name":"c","data":1}]'
    lab.app.function("song")(lambda ctx: None)
    lab.app.raw = lambda request: lab.app.respond(
        planned if request.args["stepId"] == "step" else other
    )

    run = await lab.go()

    assert run.status == "failed"
    assert run.error is not None
    assert "was planned" in run.error["message"]
