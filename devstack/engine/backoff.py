"""How long the engine waits: the backoff table, ``Retry-After``, and durations such as ``10m``."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Before retry 1, 2, 3, …; the last entry serves every later one. As in inngest pkg/backoff.
BACKOFF_SECONDS = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)
JITTER_SECONDS = 30.0
# The server clips what it is asked for (inngest pkg/consts: Min- and MaxRetryDuration).
MIN_RETRY_AFTER_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 24 * 3600.0

_UNIT_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = re.compile(r"(\d+)(ms|[wdhms])")


def backoff_seconds(attempt: int, rng: random.Random) -> float:
    """The wait after attempt ``attempt`` (from 0) failed."""
    base = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
    return base + rng.uniform(0, JITTER_SECONDS)


def retry_after_seconds(value: str, now: float) -> float | None:
    """The wait that a ``Retry-After`` header asks for, clipped; None where it makes no sense.

    Seconds, an ISO 8601 time or an HTTP date.
    """
    asked = _asked_seconds(value.strip(), now)
    if asked is None:
        return None
    return min(max(asked, MIN_RETRY_AFTER_SECONDS), MAX_RETRY_AFTER_SECONDS)


def _asked_seconds(value: str, now: float) -> float | None:
    if value.isdigit():
        return float(value)
    at = parse_time(value)
    if at is not None:
        return at - now
    try:
        return parsedate_to_datetime(value).timestamp() - now
    except ValueError:
        return None


def parse_time(value: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time (UTC where it names no zone), or None."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def parse_duration(value: str) -> float:
    """Seconds of a duration such as ``90s``, ``1h30m`` or ``2w``; ValueError for anything else."""
    parts = _DURATION_PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"not a duration: {value!r}")
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


@dataclass(frozen=True)
class Timing:
    """The engine's clock and its waits.

    ``retry_interval_seconds`` replaces the backoff table; ``time_scale`` multiplies every wait, so
    0.01 makes an app's minutes pass in less than a second.
    """

    retry_interval_seconds: float | None = None
    time_scale: float = 1.0
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.Random)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.time_scale)

    def retry_seconds(self, attempt: int, retry_after: str | None) -> float:
        """The wait, before scaling, after attempt ``attempt`` failed."""
        # The app reckoned its header on the real clock, whatever clock the engine was given.
        asked = retry_after_seconds(retry_after, time.time()) if retry_after else None
        if asked is not None:
            return asked
        if self.retry_interval_seconds is not None:
            return self.retry_interval_seconds
        return backoff_seconds(attempt, self.rng)
