"""The operations that wait: sleeps, waits for an event, invocations of other functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from devstack.engine.answers import Op, RunFailedError
from devstack.engine.backoff import Timing, parse_duration, parse_time
from devstack.engine.expressions import ExpressionRefusedError, parse_expression
from devstack.engine.model import Run
from devstack.engine.waits import Waits

Memo = dict[str, Any]
Invoke = Callable[[str, dict[str, Any], str], bool]
"""Start a run of a function by id, with an invocation's payload and correlation id; False if there
is no such function."""

YEAR_SECONDS = 365 * 86400.0


class Pauses:
    def __init__(self, timing: Timing, waits: Waits, invoke: Invoke) -> None:
        self._timing = timing
        self._waits = waits
        self._invoke = invoke

    async def memo(self, run: Run, op: Op) -> Memo:
        """Wait as the operation asks; what replays then see. Raises RunFailedError for an
        operation that is unknown or malformed."""
        match op.op:
            case "Sleep":
                await self._timing.wait(_sleep_seconds(op))
                return {"data": None}
            case "WaitForEvent":
                return await self._wait_for_event(run, op)
            case "InvokeFunction":
                return await self._invoke_function(run, op)
        message = f"operation {op.op!r} is not supported by the embedded engine"
        raise RunFailedError.because("UnsupportedByEngine", message)

    async def _wait_for_event(self, run: Run, op: Op) -> Memo:
        text = op.opts.get("if")
        seconds = _timeout_seconds(op)
        try:
            expression = parse_expression(text) if text else None
        except ExpressionRefusedError as error:
            raise RunFailedError.because("CompileError", str(error)) from error
        try:
            async with asyncio.timeout(seconds * self._timing.time_scale):
                return {"data": await self._waits.for_event(run, op.argument, expression)}
        except TimeoutError:
            return {"data": None}

    async def _invoke_function(self, run: Run, op: Op) -> Memo:
        seconds = _timeout_seconds(op)
        correlation_id = f"{run.id}.{op.id}"
        function_id = str(op.opts.get("function_id"))
        if not self._invoke(function_id, op.opts.get("payload") or {}, correlation_id):
            return _error_memo("Error", f"could not find function with ID: {function_id}")
        try:
            async with asyncio.timeout(seconds * self._timing.time_scale):
                return await self._waits.for_invocation(run, correlation_id)
        except TimeoutError:
            words = "Timed out waiting for invoked function to complete"
            return _error_memo("InngestInvokeTimeoutError", words)


def _error_memo(name: str, message: str) -> Memo:
    return {"error": {"name": name, "message": message}}


def _sleep_seconds(op: Op) -> float:
    """A sleep names the time of its end, on the app's real clock, or a duration."""
    until = parse_time(op.argument)
    if until is not None:
        return max(0.0, until - time.time())
    return _duration(op, op.argument)


def _timeout_seconds(op: Op) -> float:
    timeout = op.opts.get("timeout")
    return _duration(op, str(timeout)) if timeout else YEAR_SECONDS


def _duration(op: Op, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise RunFailedError.because("Error", f"step {op.name!r}: {error}") from error
