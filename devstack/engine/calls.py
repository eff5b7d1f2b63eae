"""One call to the app: the request as the real server writes it, and the answer as it came."""

from __future__ import annotations

import base64
import io
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from inngest._internal.net import sign_request
from yarl import URL

from devstack.engine.backoff import Timing
from devstack.engine.functions import Function
from devstack.engine.model import Event, Run
from devstack.engine.ulid import new_ulid

ROOT_STEP = "step"
# Above this the app is told to fetch events and steps itself (inngest pkg/consts).
MAX_REQUEST_BYTES = 4 * 1024 * 1024
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Request:
    url: URL
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """``status`` None: no answer came, and ``reason`` says in words why."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reason: str = ""

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        return next((v for k, v in self.headers.items() if k.lower() == name), None)


def with_user(event: Event) -> Event:
    """The event as calls carry it: ``user`` is an object, also where the sender gave none."""
    return {**event, "user": event.get("user") or {}}


class Caller:
    """Writes requests and sends them. Dev mode without a ``signing_key``, signed with one."""

    def __init__(self, timing: Timing, signing_key: str | None, timeout_seconds: float) -> None:
        self._timing = timing
        self._signing_key = signing_key
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        self._session = aiohttp.ClientSession(
            # The real server never keeps a connection, nor does it limit their number.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=self._timeout,
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def request(self, function: Function, run: Run, target: str | None, attempt: int) -> Request:
        """The call of a run, as its state is now. ``target`` is the hashed id of a planned step."""
        call_ids = _CallIds.new(self._timing)
        body = _body(function, run, target, attempt, call_ids)
        url = URL(function.url).update_query(stepId=target or ROOT_STEP)
        headers = {
            "User-Agent": "Inngest",
            "Connection": "close",
            "Content-Type": "application/json",
            "Traceparent": f"00-{run.trace_id}-{secrets.token_hex(8)}-01",
            "X-Inngest-Generation-Id": str(attempt + 1),
            "X-Inngest-Job-Id": call_ids.job,
            "X-Inngest-Req-Version": str(run.request_version),
            "X-Inngest-Step-Id": target or ROOT_STEP,
            "X-Request-Id": call_ids.request,
            "X-Run-Id": run.id,
        }
        return Request(url, headers | self.signature(body), body)

    def signature(self, body: bytes) -> dict[str, str]:
        if self._signing_key is None:
            return {}
        # The SDK's own function, so that what it checks is what is made.
        signature = sign_request(body, self._signing_key)
        if isinstance(signature, Exception):
            raise signature
        return {"X-Inngest-Signature": signature}

    async def send(self, request: Request, method: str = "POST") -> Answer:
        assert self._session is not None, "the engine has not been started"
        try:
            async with self._session.request(
                method,
                request.url,
                data=io.BytesIO(request.body),
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, dict(response.headers), await response.read())
        except TimeoutError:
            return Answer(None, reason="Your server did not answer in time")
        except (aiohttp.ClientError, OSError):
            return Answer(None, reason="Unable to reach SDK URL")


@dataclass(frozen=True)
class _CallIds:
    request: str
    job: str
    queue_item: str

    @classmethod
    def new(cls, timing: Timing) -> _CallIds:
        job = _base36(timing.rng)
        queue_item = base64.b64encode(f"{job}::default".encode()).decode()
        return cls(new_ulid(timing.clock(), timing.rng), job, queue_item)


def _base36(rng: random.Random) -> str:
    return "".join(rng.choices(_BASE36, k=13))


def _body(
    function: Function, run: Run, target: str | None, attempt: int, call_ids: _CallIds
) -> bytes:
    body: dict[str, Any] = {
        "ctx": {
            "attempt": attempt,
            # While a group of parallel steps is under way, the app may only run the target.
            "disable_immediate_execution": target is not None,
            "env": "",
            "fn_id": str(function.uuid),
            "generation_id": attempt + 1,
            "job_id": call_ids.job,
            "max_attempts": function.max_attempts,
            "qi_id": call_ids.queue_item,
            "request_id": call_ids.request,
            "run_id": run.id,
            "stack": {"current": len(run.steps), "stack": list(run.steps)},
            "step_id": ROOT_STEP,
            "use_api": False,
        },
        "defers": {},
        "event": with_user(run.event),
        "events": [with_user(event) for event in run.events],
        "steps": run.steps,
        "use_api": False,
        "version": run.request_version,
    }
    encoded = to_json(body)
    if len(encoded) > MAX_REQUEST_BYTES:
        body["ctx"]["use_api"] = body["use_api"] = True
        encoded = to_json(body | {"events": [], "steps": {}})
    return encoded


def to_json(value: Any) -> bytes:
    """Compact, with sorted keys, as the real server writes its bodies."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
