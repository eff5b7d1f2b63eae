"""Runs of functions, row by row of the protocol's table of answers."""

from __future__ import annotations

from typing import Any

import inngest
import pytest

pytestmark = pytest.mark.anyio


async def test_each_step_is_memoized_and_the_function_called_again(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> dict[str, Any]:
        first = ctx.step.run("first", lambda: {"x": 1})
        second = ctx.step.run("second", lambda: first["x"] + 1)
        return {"sum": second}

    run = await lab.go({"orderId": "o-1"})

    assert (run.status, run.output) == ("completed", {"sum": 2})
    assert run.step_names == ["first", "second"]
    assert [(c.step, c.attempt, c.status, c.op) for c in run.calls] == [
        ("first", 0, 206, "StepRun"),
        ("second", 0, 206, "StepRun"),
        (None, 0, 200, None),
    ]
    assert list(run.steps.values()) == [{"data": {"x": 1}}, {"data": 2}]
    assert lab.updates == [
        ("started", None, 0),
        ("step_finished", "first", 0),
        ("step_finished", "second", 0),
        ("completed", None, 0),
    ]


async def test_a_step_that_always_raises_fails_the_run_and_calls_the_failure_function(
    lab: Any,
) -> None:
    seen: list[Any] = []

    def on_failure(ctx: inngest.ContextSync) -> None:
        seen.append(ctx.event.data)

    @lab.app.function("song", retries=2, on_failure=on_failure)
    def song(ctx: inngest.ContextSync) -> None:
        def boom() -> None:
            raise Exception("boom")

        ctx.step.run("generate", boom)

    run = await lab.go({"orderId": "o-1"})

    assert [(c.step, c.attempt, c.status, c.op) for c in run.calls] == [
        ("generate", 0, 206, "StepError"),
        ("generate", 1, 206, "StepError"),
        ("generate", 2, 206, "StepFailed"),
        (None, 0, 500, None),
    ]
    assert run.status == "failed"
    (failure,) = lab.runs_of("song-failure")
    assert failure.status == "completed"
    assert seen[0]["function_id"] == "lab-song"
    assert seen[0]["run_id"] == run.id
    assert seen[0]["error"]["message"] == "boom"
