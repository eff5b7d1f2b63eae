"""What an app registers, parsed; and what the engine cannot do, refused.

A setting that would change when or how often a function runs must not be ignored: an app that
works here has to work on the real server. So everything that is not understood is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from devstack.engine.backoff import parse_duration
from devstack.engine.expressions import Evaluate, parse_expression
from devstack.engine.functions import (
    Cancellation,
    ConcurrencyLimit,
    CronTrigger,
    EventTrigger,
    Function,
)

DEFAULT_RETRIES = 4
_UNDERSTOOD = {
    "id", "name", "triggers", "steps", "concurrency", "cancel", "idempotency",
}  # fmt: skip
_CRON = re.compile(r"(?:TZ=(?P<zone>\S+)\s+)?(?P<fields>\S+(?:\s+\S+){4})")


class RegistrationRefusedError(ValueError):
    """The app asks for something that this engine does not do; the message says what."""


def parse_registration(body: Any) -> tuple[str, list[Function]]:
    """The app's name and its functions. Raises RegistrationRefusedError."""
    if not isinstance(body, Mapping) or not isinstance(body.get("functions"), list):
        raise RegistrationRefusedError("not a registration: the body has no list of functions")
    app = str(body.get("appname") or "")
    functions = [_parse_function(app, config) for config in body["functions"]]
    if not app or not functions:
        raise RegistrationRefusedError("a registration needs an app's name and a function")
    return app, functions


def _parse_function(app: str, config: Any) -> Function:
    if not isinstance(config, Mapping) or not config.get("id"):
        raise RegistrationRefusedError(f"a function of {app} has no id")
    function_id = str(config["id"])
    try:
        return _understand(app, function_id, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RegistrationRefusedError(f"function {function_id}: {error}") from error


def _understand(app: str, function_id: str, config: Mapping[str, Any]) -> Function:
    for setting, value in config.items():
        if setting not in _UNDERSTOOD and value not in (None, [], {}):
            raise RegistrationRefusedError(f"{setting} is not supported by the embedded engine")
    url, max_attempts = _parse_step(config["steps"])
    triggers = config.get("triggers") or []
    if not triggers:
        raise RegistrationRefusedError("it has no trigger")
    return Function(
        id=function_id,
        name=str(config.get("name") or function_id),
        app=app,
        url=url,
        max_attempts=max_attempts,
        event_triggers=tuple(_parse_event_trigger(t) for t in triggers if "event" in t),
        cron_triggers=tuple(_parse_cron(t) for t in triggers if "event" not in t),
        concurrency=tuple(_parse_concurrency(c) for c in config.get("concurrency") or []),
        cancellations=tuple(_parse_cancellation(c) for c in config.get("cancel") or []),
        idempotency=_parse_optional(config.get("idempotency")),
        uuid=uuid5(NAMESPACE_URL, f"{app}/{function_id}"),
    )


def _parse_step(steps: Mapping[str, Any]) -> tuple[str, int]:
    """The URL to call and the number of attempts."""
    if len(steps) != 1:
        raise RegistrationRefusedError("only functions of exactly one step entry are supported")
    (step,) = steps.values()
    _only(step, {"id", "name", "runtime", "retries"}, "a step's")
    runtime = step["runtime"]
    if runtime["type"] != "http":
        raise RegistrationRefusedError(f"runtime {runtime['type']!r} is not supported, only http")
    retries = (step.get("retries") or {}).get("attempts", DEFAULT_RETRIES)
    return str(runtime["url"]), int(retries) + 1


def _parse_event_trigger(trigger: Mapping[str, Any]) -> EventTrigger:
    _only(trigger, {"event", "expression"}, "a trigger's")
    if "*" in trigger["event"]:
        raise RegistrationRefusedError(f"event pattern {trigger['event']!r} is not supported")
    return EventTrigger(str(trigger["event"]), _parse_optional(trigger.get("expression")))


def _parse_cron(trigger: Mapping[str, Any]) -> CronTrigger:
    _only(trigger, {"cron"}, "a trigger's")
    expression = str(trigger["cron"])
    match = _CRON.fullmatch(expression.strip())
    if match is None:
        raise RegistrationRefusedError(f"cron {expression!r} does not have five fields")
    try:
        zone = ZoneInfo(match["zone"]) if match["zone"] else None
        CronSim(match["fields"], datetime.now(UTC))
    except (CronSimError, ZoneInfoNotFoundError) as error:
        raise RegistrationRefusedError(f"cron {expression!r}: {error}") from error
    return CronTrigger(expression, match["fields"], zone)


def _parse_concurrency(config: Mapping[str, Any]) -> ConcurrencyLimit:
    _only(config, {"limit", "key", "scope"}, "concurrency's")
    if config.get("scope") not in (None, "fn"):
        raise RegistrationRefusedError(f"concurrency scope {config['scope']!r} is not supported")
    limit = int(config["limit"])
    if limit < 1:
        raise RegistrationRefusedError(f"concurrency limit {limit} is not supported: at least 1")
    return ConcurrencyLimit(limit, _parse_optional(config.get("key")))


def _parse_cancellation(config: Mapping[str, Any]) -> Cancellation:
    _only(config, {"event", "if", "timeout"}, "cancel's")
    timeout = config.get("timeout")
    return Cancellation(
        event=str(config["event"]),
        matches=_parse_optional(config.get("if")),
        timeout_seconds=parse_duration(timeout) if timeout else None,
    )


def _parse_optional(expression: str | None) -> Evaluate | None:
    return parse_expression(expression) if expression else None


def _only(config: Mapping[str, Any], understood: set[str], whose: str) -> None:
    for setting, value in config.items():
        if setting not in understood and value is not None:
            raise RegistrationRefusedError(f"{whose} {setting!r} is not supported")
