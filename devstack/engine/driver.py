"""Drives one run: call, carry out what the app asks for, call again, until it is done."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from devstack.engine.answers import (
    Finished,
    Op,
    Operations,
    Outcome,
    RunFailedError,
    step_error_memo,
)
from devstack.engine.backoff import Timing
from devstack.engine.exchange import Exchanges
from devstack.engine.functions import Function
from devstack.engine.model import Run, Tell
from devstack.engine.pauses import Pauses
from devstack.engine.tasks import Activity, SharedActivity, Tasks

MAX_STATE_BYTES = 32 * 1024 * 1024


class _RunFinished(Exception):
    def __init__(self, output: Any) -> None:
        self.output = output


class Driver:
    def __init__(
        self,
        exchanges: Exchanges,
        pauses: Pauses,
        timing: Timing,
        tasks: Tasks,
        activity: Activity,
        tell: Tell,
    ) -> None:
        self._exchanges = exchanges
        self._pauses = pauses
        self._timing = timing
        self._tasks = tasks
        self._activity = activity
        self._tell = tell

    async def drive(self, function: Function, run: Run) -> Any:
        """The function's result. Raises RunFailedError."""
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
                raise RunFailedError(outcome)
            self._tell("step_failed", run, _step_error(outcome), attempt)
            await self._timing.wait(self._timing.retry_seconds(attempt, outcome.retry_after))
        raise AssertionError("unreachable")

    async def _in_parallel(self, function: Function, run: Run, ops: list[Op], attempt: int) -> None:
        """Carry out a group at once, until every member is memoized or one ends the run."""
        share = SharedActivity(self._activity, run.id, len(ops))
        branches = [self._tasks.spawn(self._carry_out(function, run, op, attempt)) for op in ops]
        for branch in branches:
            branch.add_done_callback(share.branch_ended)
        try:
            await asyncio.gather(*branches)
        finally:
            for branch in branches:
                branch.cancel()

    async def _carry_out(self, function: Function, run: Run, op: Op, attempt: int) -> None:
        match op.op:
            case "StepRun":
                self._memoize(run, op, {"data": op.data}, attempt)
            case "StepError" | "StepFailed":
                self._memoize(run, op, step_error_memo(op), attempt)
            case "StepPlanned":
                await self._run_planned(function, run, op)
            case _:
                self._memoize(run, op, await self._pauses.memo(run, op), attempt)

    def _memoize(self, run: Run, op: Op, memo: dict[str, Any], attempt: int) -> None:
        run.state_bytes += len(json.dumps(memo))
        if run.state_bytes > MAX_STATE_BYTES:
            raise RunFailedError.because(
                "InngestErrStateOverflowed",
                f"The function run exceeded the state size limit of {MAX_STATE_BYTES} bytes.",
            )
        run.steps[op.id] = memo
        run.step_names.append(op.name)
        self._tell("step_failed" if "error" in memo else "step_finished", run, op.name, attempt)

    async def _run_planned(self, function: Function, run: Run, op: Op) -> None:
        await self._advance(function, run, op.id)
        if op.id not in run.steps:
            raise RunFailedError.because(
                "UnsupportedByEngine", f"step {op.name!r} was planned, but its call did not run it"
            )


def _step_error(outcome: Outcome) -> str | None:
    """The plain name of the step that raised and may be tried again, if one did."""
    if isinstance(outcome, Operations):
        return next((op.name for op in outcome.ops if op.op == "StepError"), None)
    return None
