"""What the engine knows of a run, and what it tells those who watch."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Event = dict[str, Any]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]
UpdateKind = Literal["started", "step_finished", "step_failed", "completed", "failed", "cancelled"]

FUNCTION_FAILED = "inngest/function.failed"
FUNCTION_FINISHED = "inngest/function.finished"
FUNCTION_CANCELLED = "inngest/function.cancelled"
FUNCTION_INVOKED = "inngest/function.invoked"
SCHEDULED_TIMER = "inngest/scheduled.timer"


@dataclass(frozen=True)
class CallRecord:
    """One call to the app. ``status`` None means that no answer reached the engine.

    ``step`` and ``op`` are what the answer named (None for a function's own result or a failure
    outside a step). ``repeated`` marks the second call that a ``repeat`` fault asked for.
    """

    step: str | None
    attempt: int
    status: int | None
    op: str | None
    repeated: bool = False


@dataclass(eq=False)
class Run:
    """One run of one function. ``steps`` and ``step_names`` are in the order of completion."""

    id: str
    function_id: str
    event: Event
    events: list[Event]
    started_at: float
    status: Status = "queued"
    attempt: int = 0
    steps: dict[str, Any] = field(default_factory=dict)
    step_names: list[str] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    error: dict[str, Any] | None = None
    output: Any = None
    ended_at: float | None = None
    # Not known before the app's first 206; then what it said in x-inngest-req-version.
    request_version: int = -1
    state_bytes: int = 0
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class RunUpdate:
    """A change of a run's state.

    ``step`` is the plain name of the step that finished or failed; None for the run's own changes
    and for a call that failed outside any step the app named. ``attempt`` counts from 0.
    """

    kind: UpdateKind
    run: Run
    step: str | None = None
    attempt: int = 0


Listener = Callable[[RunUpdate], None]
Tell = Callable[[UpdateKind, Run, str | None, int], None]
"""Tell the listeners of a change: its kind, the run, the step's plain name, the attempt."""
