"""What the engine does with each answer, row by row of the protocol's table."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import flask
import inngest
import pytest

pytestmark = pytest.mark.anyio


def raise_boom() -> None:
    raise RuntimeError("boom")


async def test_each_finished_step_is_memoized_and_the_function_called_again(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> dict[str, Any]:
        first = ctx.step.run("first", lambda: {"x": 1})
        second = ctx.step.run("second", lambda: first["x"] + 1)
        return {"sum": second}

    run = await lab.go({"orderId": "o-1"})

    assert (run.status, run.output, run.error) == ("completed", {"sum": 2}, None)
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


async def test_a_step_that_raises_is_tried_again_and_the_next_step_starts_at_attempt_0(
    lab: Any,
) -> None:
    attempts: list[int] = []

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        def flaky() -> None:
            attempts.append(ctx.attempt)
            if ctx.attempt < 2:
                raise_boom()

        ctx.step.run("flaky", flaky)
        ctx.step.run("next", lambda: attempts.append(ctx.attempt))

    run = await lab.go()

    assert attempts == [0, 1, 2, 0]
    assert [(c.step, c.attempt, c.op) for c in run.calls] == [
        ("flaky", 0, "StepError"),
        ("flaky", 1, "StepError"),
        ("flaky", 2, "StepRun"),
        ("next", 0, "StepRun"),
        (None, 0, None),
    ]
    assert ("step_failed", "flaky", 1) in lab.updates


async def test_a_step_that_fails_for_good_is_memoized_and_the_function_sees_a_step_error(
    lab: Any,
) -> None:
    @lab.app.function("song", retries=1)
    def song(ctx: inngest.ContextSync) -> str:
        try:
            ctx.step.run("doomed", raise_boom)
        except inngest.StepError as error:
            return f"{error.name}: {error.message}"
        return "unreachable"

    run = await lab.go()

    assert (run.status, run.output) == ("completed", "RuntimeError: boom")
    assert [c.op for c in run.calls] == ["StepError", "StepFailed", None]
    (memo,) = run.steps.values()
    assert set(memo["error"]) == {"name", "message", "stack"}


@pytest.mark.parametrize("output", [{"ok": 3}, [1], "text", 0, False, None])
async def test_a_200_completes_the_run_with_any_json(lab: Any, output: Any) -> None:
    lab.app.function("song")(lambda ctx: output)

    run = await lab.go()

    assert (run.status, run.output) == ("completed", output)


async def test_a_500_outside_a_step_is_tried_again_and_fails_the_run_at_the_last_attempt(
    lab: Any,
) -> None:
    lab.app.function("song", retries=2)(lambda ctx: raise_boom())

    run = await lab.go()

    assert [(c.step, c.attempt, c.status) for c in run.calls] == [
        (None, 0, 500),
        (None, 1, 500),
        (None, 2, 500),
    ]
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["error"] == "invalid status code: 500"
    assert (run.error["name"], run.error["message"]) == ("RuntimeError", "boom")


async def test_a_500_with_no_retry_fails_the_run_now(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        def give_up() -> None:
            raise inngest.NonRetriableError("bad request")

        ctx.step.run("give-up", give_up)

    run = await lab.go()

    assert [c.status for c in run.calls] == [500]
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["error"] == "NonRetriableError"
    assert run.error["message"] == "bad request"


async def test_an_uncaught_step_error_fails_the_run_now(lab: Any) -> None:
    lab.app.function("song", retries=0)(lambda ctx: ctx.step.run("doomed", raise_boom))

    run = await lab.go()

    assert [(c.status, c.op) for c in run.calls] == [(206, "StepFailed"), (500, None)]
    assert lab.app.received[1].answer["code"] == "step_errored"
    assert run.status == "failed"


@pytest.mark.parametrize("wait_seconds", [20, 40])
async def test_a_retry_after_error_sets_the_time_of_the_next_attempt(
    open_lab: Any, wait_seconds: int
) -> None:
    lab = await open_lab(retry_interval_seconds=3600, time_scale=0.01)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        if ctx.attempt == 0:
            raise inngest.RetryAfterError("slow down", timedelta(seconds=wait_seconds))

    before = asyncio.get_running_loop().time()
    run = await lab.go()
    took = asyncio.get_running_loop().time() - before

    assert [c.status for c in run.calls] == [500, 200]
    assert wait_seconds * 0.01 - 0.02 < took < wait_seconds * 0.01 + 5


async def test_a_retry_after_of_plain_seconds_counts_too(open_lab: Any) -> None:
    lab = await open_lab(retry_interval_seconds=3600, time_scale=0.001)
    lab.app.function("song")(lambda ctx: "done")
    lab.app.raw = lambda request: (
        flask.Response("{}", 503, {"Retry-After": "30"}) if not lab.app.received else None
    )

    run = await lab.go()

    assert [c.status for c in run.calls] == [503, 200]


@pytest.mark.parametrize("status", [502, 504, 503, 404, 302])
async def test_any_other_status_is_tried_again_like_a_500(lab: Any, status: int) -> None:
    lab.app.function("song")(lambda ctx: "done")
    lab.app.raw = lambda request: (
        flask.Response('"proxy"', status) if len(lab.app.received) < 2 else None
    )

    run = await lab.go()

    assert [(c.attempt, c.status) for c in run.calls] == [(0, status), (1, status), (2, 200)]
    assert run.status == "completed"


async def test_a_refused_connection_is_tried_again_like_a_500(open_lab: Any) -> None:
    lab = await open_lab(retry_interval_seconds=0.05, time_scale=1)
    lab.app.function("song", retries=100)(lambda ctx: "done")
    await lab.serve()
    port = lab.app.port
    lab.app.stop()
    await lab.send()
    while len(lab.runs_of("song")[0].calls) < 2:
        await asyncio.sleep(0.01)

    lab.app.serve(port)
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("song")
    assert [c.status for c in run.calls][:2] == [None, None]
    assert [c.attempt for c in run.calls] == list(range(len(run.calls)))
    assert run.status == "completed"


async def test_an_app_that_stays_down_fails_the_run_with_words_for_it(lab: Any) -> None:
    lab.app.function("song", retries=1)(lambda ctx: "done")
    await lab.serve()
    lab.app.stop()
    await lab.send()
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("song")
    assert [c.status for c in run.calls] == [None, None]
    assert run.error == {
        "error": "Unable to reach SDK URL",
        "name": "Error",
        "message": "Unable to reach SDK URL",
    }


async def test_an_app_that_does_not_answer_in_time_counts_as_down(open_lab: Any) -> None:
    lab = await open_lab(call_timeout_seconds=0.2)
    lab.app.function("song", retries=0)(lambda ctx: "done")
    answering = threading.Event()
    lab.app.raw = lambda request: answering.wait(5) and None

    run = await lab.go()
    answering.set()

    assert [c.status for c in run.calls] == [None]
    assert run.error is not None
    assert "in time" in run.error["message"]


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[1]",
        '[{"op": "StepRun"}]',
        '[{"op": "StepRun", "id": "a", "name": "a", "data": NaN}]',
    ],
)
async def test_a_206_that_cannot_be_read_is_tried_again(lab: Any, body: str) -> None:
    lab.app.function("song", retries=1)(lambda ctx: "done")
    lab.app.raw = lambda request: flask.Response(body, 206)

    run = await lab.go()

    assert [c.status for c in run.calls] == [206, 206]
    assert run.status == "failed"


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (201, "{}", "201"),
        (206, "[]", "without operations"),
        (206, '[{"op": "AIGateway", "id": "a", "name": "a"}]', "'AIGateway'"),
    ],
)
async def test_what_is_not_supported_fails_the_run_with_words_for_it(
    lab: Any, status: int, body: str, word: str
) -> None:
    lab.app.function("song")(lambda ctx: "done")
    lab.app.raw = lambda request: flask.Response(body, status)

    run = await lab.go()

    assert (run.status, len(run.calls)) == ("failed", 1)
    assert run.error is not None
    assert run.error["name"] == "UnsupportedByEngine"
    assert word in run.error["message"]


async def test_a_step_result_over_the_limit_is_not_taken(lab: Any) -> None:
    lab.app.function("song", retries=0)(
        lambda ctx: ctx.step.run("huge", lambda: "x" * (4 * 1024 * 1024))
    )

    run = await lab.go()

    assert run.status == "failed"
    assert run.error is not None
    assert run.error["message"] == "output_too_large"


async def test_a_run_state_over_the_limit_fails_the_run(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.engine.driver.MAX_STATE_BYTES", 1000)

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> None:
        for number in range(4):
            ctx.step.run(f"big-{number}", lambda: "x" * 400)

    run = await lab.go()

    assert (run.status, len(run.steps)) == ("failed", 2)
    assert run.error is not None
    assert run.error["name"] == "InngestErrStateOverflowed"


async def test_state_too_large_for_a_request_is_fetched_by_the_sdk(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> list[Any]:
        sizes = [len(ctx.step.run(f"big-{n}", lambda: "x" * (3 * 1024 * 1024))) for n in range(2)]
        return [ctx.event.data["orderId"], sum(sizes), len(ctx.events)]

    run = await lab.go({"orderId": "o-1"})

    assert run.output == ["o-1", 6 * 1024 * 1024, 1]
    assert [r.body["use_api"] for r in lab.app.received] == [False, False, True]
    assert lab.app.received[2].body["steps"] == {}
