"""Registration: what an app may ask for, what is refused, and how sync says so."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

import aiohttp
import inngest
import pytest

from devstack.engine import Engine, RegistrationRefusedError, SyncError
from devstack.engine.registration import parse_registration

pytestmark = pytest.mark.anyio


def function(**settings: Any) -> dict[str, Any]:
    step = {
        "id": "step",
        "name": "step",
        "runtime": {"type": "http", "url": "http://app/api/inngest?fnId=lab-f&stepId=step"},
    }
    config = {
        "id": "lab-f",
        "name": "F",
        "triggers": [{"event": "lab/go"}],
        "steps": {"step": step},
    }
    return config | settings


def registration(*functions: dict[str, Any]) -> dict[str, Any]:
    return {
        "appname": "lab",
        "deploy_type": "ping",
        "framework": "flask",
        "functions": list(functions),
        "sdk": "py:v0.5.19",
        "url": "http://app/api/inngest",
        "v": "0.1",
    }


def with_retries(retries: Any) -> dict[str, Any]:
    config = function()
    config["steps"]["step"]["retries"] = retries
    return config


async def register(engine: Engine, body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{engine.url}/fn/register", data=json.dumps(body)) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_put_to_the_app_makes_it_register(lab: Any) -> None:
    lab.app.function("song", retries=2, on_failure=lambda ctx: None)(lambda ctx: None)
    lab.app.function("cron", trigger=inngest.TriggerCron(cron="*/2 * * * *"))(lambda ctx: None)

    await lab.serve()

    functions = lab.engine.functions
    assert list(functions) == ["lab-song", "lab-song-failure", "lab-cron"]
    assert [f.max_attempts for f in functions.values()] == [3, 1, 5]
    assert functions["lab-song"].url == (
        f"http://127.0.0.1:{lab.app.port}/api/inngest?fnId=lab-song&stepId=step"
    )


async def test_the_answer_says_whether_the_functions_changed(lab: Any) -> None:
    answers = [
        await register(lab.engine, registration(*functions))
        for functions in (
            [function()],
            [function()],
            [function(), function(id="lab-g")],
            [function(id="lab-g")],
        )
    ]

    assert [(status, body["ok"], body["modified"]) for status, body in answers] == [
        (200, True, True),
        (200, True, False),
        (200, True, True),
        (200, True, True),
    ]
    assert list(lab.engine.functions) == ["lab-g"]


async def test_two_apps_keep_their_functions_apart(lab: Any) -> None:
    await register(lab.engine, registration(function()))
    await register(lab.engine, registration(function(id="shop-g")) | {"appname": "shop"})

    assert list(lab.engine.functions) == ["lab-f", "shop-g"]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (function(throttle={"limit": 1, "period": "1s"}), "throttle"),
        (function(rateLimit={"limit": 1, "period": "1s"}), "rateLimit"),
        (function(debounce={"period": "1s"}), "debounce"),
        (function(priority={"run": "1"}), "priority"),
        (function(singleton={"mode": "skip"}), "singleton"),
        (function(batchEvents={"maxSize": 2}), "batchEvents"),
        (function(timeouts={"start": "1m"}), "timeouts"),
        (function(novelty=1), "novelty"),
        (function(idempotency="size(event.data.x)"), "size"),
        (function(triggers=[]), "no trigger"),
        (function(triggers=[{"event": "lab/*"}]), "pattern"),
        (function(triggers=[{"event": "lab/go", "expression": "event.data.x > 1"}]), "> 1"),
        (function(triggers=[{"event": "lab/go", "batch": 1}]), "batch"),
        (function(triggers=[{"cron": "* * * * * *"}]), "five fields"),
        (function(triggers=[{"cron": "61 * * * *"}]), "61"),
        (function(triggers=[{"cron": "TZ=Moon/Base * * * * *"}]), "Moon/Base"),
        (function(triggers=[{"cron": "* * * * *", "jitter": "5s"}]), "jitter"),
        (function(concurrency=[{"limit": 1, "scope": "account"}]), "account"),
        (function(concurrency=[{"limit": 0}]), "limit 0"),
        (function(concurrency=[{"limit": 1, "key": "event.data.a + 'x'"}]), "+ 'x'"),
        (function(cancel=[{"event": "lab/stop", "if": "async.data.x in [1]"}]), "in [1]"),
        (function(cancel=[{"event": "lab/stop", "timeout": "soon"}]), "soon"),
        (function(cancel=[{"event": "lab/stop", "match": "data.id"}]), "match"),
        (function(steps={}), "step"),
        (function(steps={"step": {"runtime": {"type": "ws", "url": "ws://x"}}}), "ws"),
        (function(steps=[1]), "function lab-f"),
        (function(id=""), "no id"),
        (with_retries({"attempts": "many"}), "many"),
    ],
)
async def test_what_is_not_supported_is_refused_by_name(config: Any, word: str) -> None:
    with pytest.raises(RegistrationRefusedError) as refused:
        parse_registration(registration(config))

    assert word in str(refused.value)


@pytest.mark.parametrize("body", [[], {}, {"appname": "lab", "functions": []}, {"functions": [1]}])
async def test_a_body_of_another_form_is_refused(lab: Any, body: Any) -> None:
    status, answer = await register(lab.engine, body)

    assert status == 400
    assert isinstance(answer["error"], str)


async def test_a_refused_registration_changes_nothing(lab: Any) -> None:
    await register(lab.engine, registration(function()))

    status, answer = await register(
        lab.engine, registration(function(id="lab-new"), function(priority={"run": "1"}))
    )

    assert (status, list(lab.engine.functions)) == (400, ["lab-f"])
    assert answer["error"] == ("function lab-f: priority is not supported by the embedded engine")


@pytest.mark.parametrize(
    ("retries", "attempts"), [(None, 5), ({}, 5), ({"attempts": 0}, 1), ({"attempts": 4}, 5)]
)
async def test_attempts_are_one_more_than_retries(retries: Any, attempts: int) -> None:
    _, (parsed,) = parse_registration(registration(with_retries(retries)))

    assert parsed.max_attempts == attempts


async def test_sync_tells_of_a_refusal_though_the_sdk_answers_200(lab: Any) -> None:
    lab.app.function("song", priority=inngest.Priority(run="1"))(lambda ctx: None)

    with pytest.raises(SyncError, match="priority is not supported"):
        await lab.serve()


async def test_sync_waits_for_an_app_that_is_not_up_yet(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: None)
    url = lab.app.serve()
    port = lab.app.port
    lab.app.stop()
    late = threading.Timer(0.1, lab.app.serve, [port])
    late.start()

    await lab.engine.sync(url, delay_seconds=0.02)

    assert "lab-song" in lab.engine.functions
    late.join()


async def test_sync_gives_up_with_words_for_it(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: None)
    url = lab.app.serve()
    lab.app.stop()

    with pytest.raises(SyncError, match="did not register in 2 attempts: Unable to reach"):
        await lab.engine.sync(url, attempts=2, delay_seconds=0)


async def test_an_app_that_returns_on_another_port_takes_over_its_open_runs(lab: Any) -> None:
    entered, gate = threading.Event(), threading.Event()

    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> int:
        ctx.step.run("first", lambda: entered.set() or gate.wait(5))
        return ctx.step.run("second", lambda: lab.app.port)

    await lab.serve()
    await lab.send()
    assert await asyncio.to_thread(entered.wait, 5)
    old_port = lab.app.port
    lab.app.stop()
    await lab.engine.sync(lab.app.serve())
    gate.set()
    await lab.engine.wait_idle(10)

    (run,) = lab.runs_of("song")
    assert run.output == lab.app.port != old_port


async def test_outside_dev_mode_calls_are_signed_and_the_app_must_authenticate(
    open_lab: Any,
) -> None:
    key = "signkey-test-0123456789abcdef0123456789abcdef"
    client = {"is_production": True, "signing_key": key, "event_key": "k"}
    lab = await open_lab(client=client, signing_key=key)
    lab.app.function("song")(lambda ctx: ctx.step.run("é", lambda: "\u00e9"))

    run = await lab.go({"text": "\u00fc", "number": 1.5})

    assert (run.status, run.output) == ("completed", "\u00e9")
    signatures = [received.headers["X-Inngest-Signature"] for received in lab.app.received]
    assert all(re.fullmatch(r"t=\d{10}&s=[0-9a-f]{64}", signature) for signature in signatures)
    assert (await register(lab.engine, registration(function())))[0] == 401


async def test_an_app_with_another_key_is_called_in_vain(open_lab: Any) -> None:
    keys = [f"signkey-test-{digit * 32}" for digit in "12"]
    client = {"is_production": True, "signing_key": keys[0], "event_key": "k"}
    lab = await open_lab(client=client, signing_key=keys[1])
    lab.app.function("song")(lambda ctx: None)

    with pytest.raises(SyncError, match="authentication failed"):
        await lab.serve()


async def test_in_dev_mode_nothing_is_signed(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: None)

    await lab.go()

    assert "X-Inngest-Signature" not in lab.app.received[0].headers
