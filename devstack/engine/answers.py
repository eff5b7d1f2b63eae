"""What an answer of the app means: operations, a function's result, or a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from devstack.engine.calls import Answer

# The limit of a step's result; an answer carries one result and hardly anything beside it.
MAX_STEP_BYTES = 4 * 1024 * 1024
DEFAULT_REQUEST_VERSION = 0


@dataclass(frozen=True)
class Op:
    """One operation of a 206. ``name`` is the step's plain name; ``argument`` is what the
    protocol calls name: a sleep's end, a wait's event."""

    op: str
    id: str
    name: str
    argument: str
    opts: Mapping[str, Any]
    data: Any
    error: Mapping[str, Any]


@dataclass(frozen=True)
class Operations:
    """``no_retry`` and ``retry_after`` concern a StepError among the operations."""

    ops: list[Op]
    request_version: int
    no_retry: bool
    retry_after: str | None


@dataclass(frozen=True)
class Finished:
    output: Any


@dataclass(frozen=True)
class Failure:
    """A call that did not succeed. ``error`` and ``result`` go into ``inngest/function.failed``.

    ``no_retry`` says that the run fails now, whatever attempts remain.
    """

    error: dict[str, Any]
    result: Any = None
    no_retry: bool = False
    retry_after: str | None = None


Outcome = Operations | Finished | Failure

ANSWER_LOST = "Your server reset the request connection."


class RunFailedError(Exception):
    """The run has failed for good."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error["message"])
        self.failure = failure

    @classmethod
    def because(cls, name: str, message: str) -> RunFailedError:
        return cls(Failure({"error": f"{name}: {message}", "name": name, "message": message}))


def interpret(answer: Answer) -> Outcome:
    if answer.status is None:
        return Failure(standard_error(None, answer.reason))
    if answer.status == 201:
        return _unsupported("streamed answers (201) are not supported by the embedded engine")
    if answer.status == 206:
        return _interpret_operations(answer)
    body = _parse_result(answer.body)
    no_retry = answer.header("x-inngest-no-retry") == "true"
    if 200 <= answer.status <= 299 and not no_retry:
        return Finished(body)
    reason = "NonRetriableError" if no_retry else f"invalid status code: {answer.status}"
    retry_after = answer.header("retry-after")
    return Failure(standard_error(body, reason), body, no_retry, retry_after)


def _interpret_operations(answer: Answer) -> Outcome:
    try:
        body = _strict_json(answer.body)
        raw_ops = body if isinstance(body, list) else [body]
        ops = [_parse_op(raw) for raw in raw_ops]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Failure(standard_error(None, "error reading generator opcode response"))
    if not ops:
        return _unsupported("a 206 without operations is not supported by the embedded engine")
    if len(answer.body) > MAX_STEP_BYTES:
        return Failure(standard_error(None, "output_too_large"), "output_too_large")
    version = answer.header("x-inngest-req-version") or ""
    return Operations(
        ops=ops,
        request_version=int(version) if version.isdigit() else DEFAULT_REQUEST_VERSION,
        no_retry=answer.header("x-inngest-no-retry") == "true",
        retry_after=answer.header("retry-after"),
    )


def _parse_op(raw: Mapping[str, Any]) -> Op:
    argument = str(raw.get("name") or "")
    return Op(
        op=str(raw["op"]),
        id=str(raw["id"]),
        name=str(raw.get("displayName") or argument),
        argument=argument,
        opts=raw.get("opts") or {},
        data=raw.get("data"),
        error=raw.get("error") or {},
    )


def step_error_memo(op: Op) -> dict[str, Any]:
    """What replays see of a step that failed for good: its error without the SDK's code."""
    known = ("message", "name", "stack")
    error = {key: op.error[key] for key in known if op.error.get(key) is not None}
    return {"error": {"message": "Step execution error", "name": "Error"} | error}


def standard_error(body: Any, reason: str) -> dict[str, Any]:
    """The four fields of ``inngest/function.failed``'s error, from whatever the app answered."""
    fields = body if isinstance(body, Mapping) else {"message": body}
    for inner in ("error", "body"):
        if isinstance(fields.get(inner), Mapping):
            fields = fields[inner]
            break
    found = {
        key: fields[key]
        for key in ("error", "name", "message", "stack")
        if isinstance(fields.get(key), str) and fields[key]
    }
    return {"error": reason, "name": "Error", "message": reason} | found


def _unsupported(message: str) -> Failure:
    error = {"error": message, "name": "UnsupportedByEngine", "message": message}
    return Failure(error, no_retry=True)


def _parse_result(body: bytes) -> Any:
    try:
        return _strict_json(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def _strict_json(body: bytes) -> Any:
    return json.loads(body, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
