"""The engine against recorded traffic of the real dev server: the same answers, the same calls."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web

from devstack.engine import Engine
from devstack.serving import LoopbackServer

pytestmark = pytest.mark.anyio

RECORDED = [
    json.loads(line) for line in Path(__file__).with_name("recorded.jsonl").read_text().splitlines()
]
VOLATILE_CTX = ("fn_id", "job_id", "qi_id", "request_id", "run_id")


def function_of(exchange: dict[str, Any]) -> str:
    return parse_qs(exchange["query"])["fnId"][0]


def order_of(body: dict[str, Any]) -> str:
    """What tells the recorded runs of one function apart."""
    data = body["event"]["data"]
    return str(data.get("event", {"data": data})["data"].get("orderId"))


def recorded_calls(function_id: str, order: str) -> list[dict[str, Any]]:
    return [
        exchange
        for exchange in RECORDED
        if function_of(exchange) == function_id and order_of(exchange["body"]) == order
    ]


class ScriptedApp(LoopbackServer):
    """Answers every call as the recorded app did, and keeps what it was asked."""

    name = "scripted app"

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.post("/api/inngest", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        key = (request.query["fnId"], order_of(body))
        answer = recorded_calls(*key)[len(self.calls[key])]["answer"]
        self.calls[key].append(
            {"query": request.query_string, "headers": dict(request.headers), "body": body}
        )
        return web.Response(
            status=answer["status"], headers=answer["headers"], text=json.dumps(answer["body"])
        )

    def config(self, function_id: str, retries: int, **trigger: str) -> dict[str, Any]:
        url = f"{self.url}/api/inngest?fnId={function_id}&stepId=step"
        step = {
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": url},
            "retries": {"attempts": retries},
        }
        return {
            "id": function_id,
            "name": function_id,
            "triggers": [trigger],
            "steps": {"step": step},
        }


@pytest.fixture
async def scripted(anyio_backend: str) -> Any:
    app, engine = ScriptedApp(), Engine(retry_interval_seconds=0, time_scale=0.01, run_cron=False)
    await app.start()
    await engine.start()
    song = "songswipe-generate-song"
    registration = {
        "appname": "songswipe",
        "functions": [
            app.config(song, 2, event="song/generation.requested"),
            app.config(
                f"{song}-failure",
                0,
                event="inngest/function.failed",
                expression=f"event.data.function_id == '{song}'",
            ),
            app.config("lab-raw500", 1, event="lab/raw"),
            app.config("lab-cron", 4, cron="* * * * *"),
        ],
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{engine.url}/fn/register", json=registration) as answer,
    ):
        assert answer.status == 200
    yield app, engine
    await engine.stop()
    await app.stop()


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """A call's body without what differs from one server to the next: ids and the time."""
    body = json.loads(json.dumps(body))
    for key in VOLATILE_CTX:
        assert isinstance(body["ctx"].pop(key), str)
    for event in [body["event"], *body["events"]]:
        if event["name"].startswith("inngest/") or event["name"] == "lab/raw":
            assert isinstance(event.pop("id"), str)
            assert isinstance(event.pop("ts"), int)
        if event["name"] == "inngest/function.failed":
            assert isinstance(event["data"].pop("run_id"), str)
        if event["name"] == "inngest/scheduled.timer":
            assert set(event["data"]) == {"cron", "fireAt", "scheduledAt"}
            event["data"] = {"cron": event["data"]["cron"]}
    return body  # type: ignore[no-any-return]


def comparable_headers(headers: dict[str, str]) -> dict[str, str]:
    volatile = ("traceparent", "x-inngest-job-id", "x-request-id", "x-run-id")
    named = {name.lower(): value for name, value in headers.items()}
    kept = {name: ("" if name in volatile else value) for name, value in named.items()}
    return {name: kept[name] for name in kept if name not in ("host", "content-length")}


async def replay(app: ScriptedApp, engine: Engine, function_id: str, order: str) -> None:
    expected = recorded_calls(function_id, order)

    actual = app.calls[function_id, order]
    assert [comparable(call["body"]) for call in actual] == [
        comparable(call["body"]) for call in expected
    ]
    assert [comparable_headers(call["headers"]) for call in actual] == [
        comparable_headers(call["headers"]) for call in expected
    ]
    assert [call["query"] for call in actual] == [call["query"] for call in expected]


@pytest.mark.parametrize(
    ("order", "function_ids"),
    [
        ("o-ok", ["songswipe-generate-song"]),
        ("o-rl", ["songswipe-generate-song"]),
        ("o-bad", ["songswipe-generate-song", "songswipe-generate-song-failure"]),
        ("o-err", ["songswipe-generate-song", "songswipe-generate-song-failure"]),
    ],
)
async def test_an_order_is_called_as_the_dev_server_called_it(
    scripted: Any, order: str, function_ids: list[str]
) -> None:
    app, engine = scripted
    event = dict(recorded_calls("songswipe-generate-song", order)[0]["body"]["event"])
    del event["user"]  # The sender gave none; the server adds it to its calls.

    await engine.send(event)
    await engine.wait_idle(10)

    for function_id in function_ids:
        await replay(app, engine, function_id, order)
    assert [f for f, _ in app.calls] == function_ids


async def test_a_function_that_raises_outside_any_step_is_called_as_recorded(
    scripted: Any,
) -> None:
    app, engine = scripted

    await engine.send({"name": "lab/raw", "data": {}})
    await engine.wait_idle(10)

    await replay(app, engine, "lab-raw500", "None")


async def test_a_cron_function_is_called_as_recorded(scripted: Any) -> None:
    app, engine = scripted

    engine.fire_cron("lab-cron")
    await engine.wait_idle(10)

    await replay(app, engine, "lab-cron", "None")
