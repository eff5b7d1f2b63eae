"""One exchange with the app: its turn, the call, the faults around it, and the record of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from devstack.engine.answers import (
    ANSWER_LOST,
    Failure,
    Operations,
    Outcome,
    interpret,
    standard_error,
)
from devstack.engine.calls import Answer, Caller, Request
from devstack.engine.functions import Function
from devstack.engine.model import CallRecord, Run, Tell
from devstack.engine.slots import Slot, Slots
from devstack.engine.tasks import Activity, Tasks
from devstack.faults import Call, Fault, FaultScript


class Exchanges:
    """Makes the calls. ``functions`` is looked into at each one, since an app may register again
    (on another port, say) while runs are open. ``present`` unset holds every call back."""

    def __init__(
        self,
        caller: Caller,
        functions: Mapping[str, Function],
        faults: FaultScript | None,
        tasks: Tasks,
        activity: Activity,
        tell: Tell,
    ) -> None:
        self.present = asyncio.Event()
        self.present.set()
        self._caller = caller
        self._functions = functions
        self._faults = faults
        self._tasks = tasks
        self._activity = activity
        self._tell = tell
        self._slots = Slots()

    async def call(self, run: Run, target: str | None, attempt: int) -> Outcome:
        """Call the app for a run and say what the answer means.

        To cancel the caller does not cut a call that is under way: it runs to its end, as a step
        that is executing does when its run is cancelled.
        """
        under_way = asyncio.Event()
        exchange = self._tasks.spawn_alone(self._take_turn(run, target, attempt, under_way))
        self._activity.begin(run.id)
        exchange.add_done_callback(lambda _: self._activity.end(run.id))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            if not under_way.is_set():
                exchange.cancel()
            raise

    async def _take_turn(
        self, run: Run, target: str | None, attempt: int, under_way: asyncio.Event
    ) -> Outcome:
        function = self._functions[run.function_id]
        async with await self._slots.acquire(_slots_of(function, run)):
            await self.present.wait()
            if run.ended:
                raise asyncio.CancelledError
            under_way.set()
            self._note_start(run)
            function = self._functions[run.function_id]
            request = self._caller.request(function, run, target, attempt)
            return await self._exchange(run, request, attempt)

    def _note_start(self, run: Run) -> None:
        if run.status == "queued":
            run.status = "running"
            self._tell("started", run, None, 0)

    async def _exchange(self, run: Run, request: Request, attempt: int) -> Outcome:
        answer = await self._send(request, self._fault("step", request, run.function_id))
        outcome = interpret(answer)
        if answer.status is not None:
            fault = self._fault("answer", request, _step_of(outcome) or "")
            answer, outcome = await self._meddle(fault, answer, outcome)
        run.calls.append(_record(outcome, answer, attempt))
        if isinstance(outcome, Operations) and _finishes_step(outcome):
            await self._repeat(run, request, outcome, attempt)
        return outcome

    async def _send(self, request: Request, fault: Fault | None) -> Answer:
        if fault is None:
            return await self._caller.send(request)
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut == "before":
            return Answer(None, reason="Unable to reach SDK URL")
        if fault.status is not None:
            return Answer(fault.status, fault.headers, fault.body)
        answer = await self._caller.send(request)
        return answer if fault.cut is None else Answer(None, reason=ANSWER_LOST)

    async def _meddle(
        self, fault: Fault | None, answer: Answer, outcome: Outcome
    ) -> tuple[Answer, Outcome]:
        if fault is None:
            return answer, outcome
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut is not None:
            return Answer(None), Failure(standard_error(None, ANSWER_LOST))
        if fault.status is not None:
            answer = Answer(fault.status, fault.headers, fault.body)
            return answer, interpret(answer)
        return answer, outcome

    async def _repeat(self, run: Run, request: Request, outcome: Operations, attempt: int) -> None:
        """The same call once more, as from a server that forgot the answer it had."""
        fault = self._fault("repeat", request, _step_of(outcome) or "")
        if fault is None:
            return
        await asyncio.sleep(fault.delay_seconds)
        answer = await self._caller.send(request)
        run.calls.append(_record(interpret(answer), answer, attempt, repeated=True))

    def _fault(self, service: str, request: Request, detail: str) -> Fault | None:
        if self._faults is None:
            return None
        call = Call(service, "POST", request.url.path, detail, request.body, request.headers)
        return self._faults.fault_for(call)


def _slots_of(function: Function, run: Run) -> list[Slot]:
    scope = {"event": run.event}
    return [
        (f"{function.id}/{number}/{limit.key(scope) if limit.key else ''!r}", limit.limit)
        for number, limit in enumerate(function.concurrency)
    ]


def _record(outcome: Outcome, answer: Answer, attempt: int, repeated: bool = False) -> CallRecord:
    ops = outcome.ops if isinstance(outcome, Operations) else []
    op = ",".join(op.op for op in ops) or None
    return CallRecord(_step_of(outcome), attempt, answer.status, op, repeated)


def _step_of(outcome: Outcome) -> str | None:
    """The plain name of the step that an answer is about; several are joined by commas."""
    if isinstance(outcome, Operations):
        return ",".join(op.name for op in outcome.ops)
    return None


def _finishes_step(outcome: Operations) -> bool:
    return any(op.op == "StepRun" for op in outcome.ops)
