"""The end of a run: what is emitted, and how failure functions are run."""

from __future__ import annotations

from typing import Any

import inngest
import pytest

pytestmark = pytest.mark.anyio


def fail(ctx: inngest.ContextSync) -> None:
    raise inngest.NonRetriableError("no song")


async def test_the_failure_function_gets_the_failed_event(lab: Any) -> None:
    seen: list[Any] = []
    lab.app.function("song", on_failure=lambda ctx: seen.append(ctx.event))(fail)

    run = await lab.go({"orderId": "o-1"})

    (event,) = seen
    assert event.name == "inngest/function.failed"
    assert event.id == run.id
    data = dict(event.data)
    stack = data["error"].pop("stack")
    assert "NonRetriableError: no song" in stack
    assert data["result"].pop("stack") == stack
    sent = dict(run.event)
    assert data == {
        "function_id": "lab-song",
        "run_id": run.id,
        "error": {
            "error": "NonRetriableError",
            "name": "NonRetriableError",
            "message": "no song",
        },
        "result": {
            "code": "non_retriable_error",
            "name": "NonRetriableError",
            "message": "no song",
        },
        "event": {**sent, "user": {}},
        "events": [sent],
        "_inngest": {"status": "Failed"},
    }


async def test_the_failure_function_gets_one_attempt_and_its_failure_makes_no_event(
    lab: Any,
) -> None:
    lab.app.function("song", on_failure=fail)(fail)
    any_failure = inngest.TriggerEvent(event="inngest/function.failed")
    lab.app.function("watch", trigger=any_failure)(lambda ctx: ctx.event.data["function_id"])

    await lab.go()

    (failure,) = lab.runs_of("song-failure")
    assert (failure.status, len(failure.calls)) == ("failed", 1)
    (call,) = (r for r in lab.app.received if r.query["fnId"] == "lab-song-failure")
    assert call.body["ctx"]["max_attempts"] == 1
    assert [run.output for run in lab.runs_of("watch")] == ["lab-song"]


async def test_the_failure_function_gets_one_attempt_at_each_step(lab: Any) -> None:
    def on_failure(ctx: inngest.ContextSync) -> None:
        ctx.step.run("first", lambda: None)
        ctx.step.run("insert", lambda: 1 / 0)

    lab.app.function("song", on_failure=on_failure)(fail)

    await lab.go()

    (failure,) = lab.runs_of("song-failure")
    assert [(c.step, c.attempt, c.op) for c in failure.calls] == [
        ("first", 0, "StepRun"),
        ("insert", 0, "StepFailed"),
        (None, 0, None),
    ]
    assert failure.status == "failed"


async def test_only_the_failed_functions_own_failure_function_is_called(lab: Any) -> None:
    lab.app.function("song", on_failure=lambda ctx: None)(fail)
    lab.app.function("mail", on_failure=lambda ctx: None)(lambda ctx: None)

    await lab.go()

    assert (len(lab.runs_of("song-failure")), len(lab.runs_of("mail-failure"))) == (1, 0)


async def test_a_run_that_no_answer_ever_reached_fails_without_a_result(lab: Any) -> None:
    seen: list[Any] = []
    lab.app.function("song", retries=0, on_failure=lambda ctx: seen.append(ctx.event.data))(fail)
    await lab.serve()
    port = lab.app.port
    lab.app.stop()
    lab.engine.listeners.append(lambda u: u.kind == "failed" and lab.app.serve(port))

    await lab.send()
    await lab.engine.wait_idle(10)

    assert seen[0]["error"] == {
        "error": "Unable to reach SDK URL",
        "name": "Error",
        "message": "Unable to reach SDK URL",
    }
    assert "result" not in seen[0]


async def test_every_end_emits_function_finished(lab: Any) -> None:
    finished = inngest.TriggerEvent(event="inngest/function.finished")
    lab.app.function("watch", trigger=finished)(lambda ctx: ctx.event.data)
    lab.app.function("good", event="lab/good")(lambda ctx: "fine")
    lab.app.function("bad", event="lab/bad")(fail)
    await lab.serve()

    await lab.send(name="lab/good")
    await lab.send(name="lab/bad")
    await lab.engine.wait_idle(10)

    ends = {run.output["function_id"]: run.output for run in lab.runs_of("watch")}
    assert ends["lab-good"]["result"] == "fine"
    assert ends["lab-good"]["_inngest"] == {"status": "Completed"}
    assert ends["lab-bad"]["_inngest"] == {"status": "Failed"}
    assert set(ends) == {"lab-good", "lab-bad"}
