"""What the engine knows of a registered function."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim

from devstack.engine.expressions import Evaluate


@dataclass(frozen=True)
class EventTrigger:
    event: str
    matches: Evaluate | None


@dataclass(frozen=True)
class CronTrigger:
    expression: str
    fields: str
    zone: ZoneInfo | None

    def next_after(self, now: float) -> datetime:
        start = datetime.fromtimestamp(now, self.zone or UTC)
        return next(CronSim(self.fields, start)).astimezone(UTC)


@dataclass(frozen=True)
class ConcurrencyLimit:
    limit: int
    key: Evaluate | None


@dataclass(frozen=True)
class Cancellation:
    event: str
    matches: Evaluate | None
    timeout_seconds: float | None


@dataclass(frozen=True)
class Function:
    """A registered function. ``uuid`` is what calls name it by in ``ctx.fn_id``."""

    id: str
    name: str
    app: str
    url: str
    max_attempts: int
    event_triggers: tuple[EventTrigger, ...]
    cron_triggers: tuple[CronTrigger, ...]
    concurrency: tuple[ConcurrencyLimit, ...]
    cancellations: tuple[Cancellation, ...]
    idempotency: Evaluate | None
    uuid: UUID


@dataclass(frozen=True)
class Functions:
    """``known`` also has those that are no longer registered, for runs that are still open."""

    registered: dict[str, Function] = field(default_factory=dict)
    known: dict[str, Function] = field(default_factory=dict)
