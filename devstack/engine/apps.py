"""The apps that have registered: their functions, and how an app is asked to register."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from yarl import URL

from devstack.engine.calls import Answer, Caller, Request
from devstack.engine.cron import CronTimers
from devstack.engine.functions import Function, Functions
from devstack.engine.registration import parse_registration

SERVE_PATH = "/api/inngest"


class SyncError(RuntimeError):
    """The app could not be registered; the message says what it answered last."""


class Apps:
    """``cron`` None: cron functions are registered, but nothing starts them on time."""

    def __init__(self, functions: Functions, cron: CronTimers | None) -> None:
        self._functions = functions
        self._cron = cron

    def register(self, body: Any) -> dict[str, Any]:
        """Take an app's functions in place of those it had; the answer to its SDK.

        Raises RegistrationRefusedError; then nothing has changed.
        """
        app, functions = parse_registration(body)
        before = {f.id for f in self._functions.registered.values() if f.app == app}
        after = {f.id: f for f in functions}
        for gone in before - after.keys():
            del self._functions.registered[gone]
            if self._cron is not None:
                self._cron.drop(gone)
        self._functions.registered.update(after)
        self._functions.known.update(after)
        self.set_timers(functions)
        return {
            "ok": True,
            "modified": before != after.keys(),
            "app_id": str(uuid5(NAMESPACE_URL, app)),
            "sync_id": str(uuid4()),
        }

    def set_timers(self, functions: list[Function] | None = None) -> None:
        """Set the cron timers of these functions, or of all."""
        if self._cron is not None:
            self._cron.schedule(functions or self._functions.registered.values())


async def sync_app(
    caller: Caller, app_url: str, headers: dict[str, str], attempts: int, delay_seconds: float
) -> None:
    """PUT the app's endpoint, which makes its SDK register. Raises SyncError."""
    url = URL(app_url.rstrip("/") + SERVE_PATH)
    answer = Answer(None, reason="it was never asked")
    for attempt in range(attempts):
        if attempt:
            await asyncio.sleep(delay_seconds)
        answer = await caller.send(Request(url, headers, b""), "PUT")
        if answer.status == 200:
            _check_registered(url, answer)
            return
    said = answer.reason or f"it answered {answer.status} {_excerpt(answer)}"
    raise SyncError(f"{url} did not register in {attempts} attempts: {said}")


def _check_registered(url: URL, answer: Answer) -> None:
    # The SDK answers 200 also when the engine refused, with the engine's words as the body.
    try:
        body: Any = json.loads(answer.body)
    except ValueError:
        body = None
    if not (isinstance(body, dict) and body.get("ok") is True):
        raise SyncError(f"{url} was refused: {_excerpt(answer)}")


def _excerpt(answer: Answer) -> str:
    return answer.body[:500].decode(errors="replace")
