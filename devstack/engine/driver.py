"""Drives one run: call, carry out what the app asks for, call again, until it is done."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from devstack.engine.answers import (
    Failure,
    Finished,
    Op,
    Operations,
    Outcome,
    standard_error,
    step_error_memo,
)
from devstack.engine.backoff import Timing, parse_duration, parse_time
from devstack.engine.exchange import Exchanges
from devstack.engine.expressions import ExpressionRefused, parse_expression
from devstack.engine.model import Run, Tell
from devstack.engine.registration import Function
from devstack.engine.tasks import Activity, Tasks
from devstack.engine.waits import Waits

MAX_STATE_BYTES = 32 * 1024 * 1024
YEAR_SECONDS = 365 * 86400.0

Invoke = Callable[[str, dict[str, Any], str], bool]
"""Start a run of a function by id, with an invocation's payload and correlation id; False if there
is no such function."""


class RunFailed(Exception):
    """The run has failed for good."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error["message"])
        self.failure = failure

    @classmethod
    def because(cls, name: str, message: str) -> RunFailed:
        return cls(Failure({"error": f"{name}: {message}", "name": name, "message": message}))


class _RunFinished(Exception):
    def __init__(self, output: Any) -> None:
        self.output = output


class Driver:
    def __init__(
        self,
        exchanges: Exchanges,
        timing: Timing,
        waits: Waits,
        tasks: Tasks,
        activity: Activity,
        tell: Tell,
        invoke: Invoke,
    ) -> None:
        self._exchanges = exchanges
        self._timing = timing
        self._waits = waits
        self._tasks = tasks
        self._activity = activity
        self._tell = tell
        self._invoke = invoke

    async def drive(self, function: Function, run: Run) -> Any:
        """The function's result. Raises RunFailed."""
        try:
            while True:
                await self._advance(function, run, None)
        except _RunFinished as finished:
            return finished.output

    async def _advance(self, function: Function, run: Run, target: str | None) -> None:
        ops, attempt = await self._operations(function, run, target)
        if len(ops) == 1:
            await self._carry_out(function, run, ops[0], attempt)
        else:
            await self._in_parallel(function, run, ops, attempt)

    async def _operations(
        self, function: Function, run: Run, target: str | None
    ) -> tuple[list[Op], int]:
        """What the app asks for next, after as many attempts as it takes and is allowed."""
        for attempt in itertools.count():
            run.attempt = attempt
            outcome = await self._exchanges.call(run, target, attempt)
            if isinstance(outcome, Finished):
                raise _RunFinished(outcome.output)
            last = attempt + 1 >= function.max_attempts or outcome.no_retry
            if isinstance(outcome, Operations):
                if run.request_version == -1:
                    run.request_version = outcome.request_version
                if last or not _step_error(outcome):
                    return outcome.ops, attempt
            elif last:
                raise RunFailed(outcome)
            self._tell("step_failed", run, _step_error(outcome), attempt)
            await self._timing.wait(self._timing.retry_seconds(attempt, outcome.retry_after))
        raise AssertionError("unreachable")

    async def _in_parallel(
        self, function: Function, run: Run, ops: list[Op], attempt: int
    ) -> None:
        """Carry out a group at once, until every member is memoized or one ends the run."""
        branches = [self._branch(function, run, op, attempt) for op in ops]
        try:
            with self._activity.resting(run.id):
                await asyncio.gather(*branches)
        finally:
            for branch in branches:
                branch.cancel()

    def _branch(self, function: Function, run: Run, op: Op, attempt: int) -> asyncio.Task[None]:
        self._activity.begin(run.id)
        branch = self._tasks.spawn(self._carry_out(function, run, op, attempt))
        branch.add_done_callback(lambda _: self._activity.end(run.id))
        return branch

    async def _carry_out(self, function: Function, run: Run, op: Op, attempt: int) -> None:
        match op.op:
            case "StepRun":
                self._memoize(run, op, {"data": op.data}, attempt)
            case "StepError" | "StepFailed":
                self._memoize(run, op, step_error_memo(op), attempt)
            case "StepPlanned":
                await self._run_planned(function, run, op)
            case "Sleep":
                await self._timing.wait(_sleep_seconds(op))
                self._memoize(run, op, {"data": None}, attempt)
            case "WaitForEvent":
                self._memoize(run, op, await self._wait_for_event(run, op), attempt)
            case "InvokeFunction":
                self._memoize(run, op, await self._invoke_function(run, op), attempt)
            case _:
                raise RunFailed.because(
                    "UnsupportedByEngine", f"operation {op.op!r} is not supported"
                )

    def _memoize(self, run: Run, op: Op, memo: dict[str, Any], attempt: int) -> None:
        run.state_bytes += len(json.dumps(memo))
        if run.state_bytes > MAX_STATE_BYTES:
            raise RunFailed.because(
                "InngestErrStateOverflowed",
                f"The function run exceeded the state size limit of {MAX_STATE_BYTES} bytes.",
            )
        run.steps[op.id] = memo
        run.step_names.append(op.name)
        self._tell("step_failed" if "error" in memo else "step_finished", run, op.name, attempt)

    async def _run_planned(self, function: Function, run: Run, op: Op) -> None:
        await self._advance(function, run, op.id)
        if op.id not in run.steps:
            raise RunFailed.because(
                "UnsupportedByEngine", f"step {op.name!r} was planned, but its call did not run it"
            )

    async def _wait_for_event(self, run: Run, op: Op) -> dict[str, Any]:
        text = op.opts.get("if")
        seconds = _timeout_seconds(op)
        try:
            expression = parse_expression(text) if text else None
        except ExpressionRefused as error:
            raise RunFailed.because("CompileError", str(error)) from error
        try:
            with self._activity.resting(run.id):
                async with asyncio.timeout(seconds * self._timing.time_scale):
                    return {"data": await self._waits.for_event(run, op.argument, expression)}
        except TimeoutError:
            return {"data": None}

    async def _invoke_function(self, run: Run, op: Op) -> dict[str, Any]:
        correlation_id = f"{run.id}.{op.id}"
        function_id = str(op.opts.get("function_id"))
        if not self._invoke(function_id, op.opts.get("payload") or {}, correlation_id):
            return _invoke_error("Error", f"could not find function with ID: {function_id}")
        try:
            with self._activity.resting(run.id):
                async with asyncio.timeout(_timeout_seconds(op) * self._timing.time_scale):
                    return await self._waits.for_invocation(correlation_id)
        except TimeoutError:
            return _invoke_error(
                "InngestInvokeTimeoutError",
                "Timed out waiting for invoked function to complete",
            )


def _step_error(outcome: Outcome) -> str | None:
    """The plain name of the step that raised and may be tried again, if one did."""
    if isinstance(outcome, Operations):
        return next((op.name for op in outcome.ops if op.op == "StepError"), None)
    return None


def _invoke_error(name: str, message: str) -> dict[str, Any]:
    return {"error": {"name": name, "message": message}}


def _sleep_seconds(op: Op) -> float:
    """A sleep names the time of its end, on the app's real clock, or a duration."""
    until = parse_time(op.argument)
    if until is not None:
        return max(0.0, until - time.time())
    try:
        return parse_duration(op.argument)
    except ValueError as error:
        raise RunFailed(Failure(standard_error(None, f"sleep {op.name!r}: {error}"))) from error


def _timeout_seconds(op: Op) -> float:
    timeout = op.opts.get("timeout")
    try:
        return parse_duration(timeout) if timeout else YEAR_SECONDS
    except ValueError as error:
        raise RunFailed(Failure(standard_error(None, f"step {op.name!r}: {error}"))) from error
