"""What the engine shows: the page, the list of runs, and the API that the SDK reads."""

from __future__ import annotations

from typing import Any

import aiohttp
import inngest
import pytest

pytestmark = pytest.mark.anyio


async def get(lab: Any, path: str) -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession() as session, session.get(lab.engine.url + path) as answer:
        await answer.read()
        return answer


@pytest.fixture
async def busy(lab: Any) -> Any:
    @lab.app.function("song", retries=0)
    def song(ctx: inngest.ContextSync) -> None:
        ctx.step.run("<b>bold</b>", lambda: "private words")
        raise ValueError("<i>private</i>")

    trigger = inngest.TriggerCron(cron="*/2 * * * *")
    lab.app.function("sweep", trigger=trigger)(lambda ctx: None)
    await lab.go({"name": "Ada"})
    return lab


async def test_the_page_lists_runs_and_functions_escaped_and_without_data(busy: Any) -> None:
    answer = await get(busy, "/")
    page = await answer.text()

    assert answer.content_type == "text/html"
    (run,) = busy.runs_of("song")
    for word in (run.id, "lab-song", "failed: ValueError", "cron */2 * * * *", "lab/go"):
        assert word in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    for word in ("<b>", "private", "Ada"):
        assert word not in page


async def test_an_engine_without_an_app_has_a_page_too(lab: Any) -> None:
    page = await (await get(lab, "/")).text()

    assert "No app has registered." in page


async def test_runs_can_be_listed_newest_first(busy: Any) -> None:
    busy.engine.fire_cron("lab-sweep")
    await busy.engine.wait_idle(10)

    runs = (await (await get(busy, "/v1/runs")).json())["data"]

    assert [run["function_id"] for run in runs] == ["lab-sweep", "lab-song"]
    assert runs[1]["status"] == "failed"
    assert runs[1]["steps"] == ["<b>bold</b>"]
    assert runs[1]["calls"] == 2
    assert "Ada" not in str(runs)


async def test_the_sdk_finds_a_dev_server(lab: Any) -> None:
    assert (await get(lab, "/dev")).status == 200


async def test_a_runs_events_and_steps_can_be_fetched(busy: Any) -> None:
    (run,) = busy.runs_of("song")

    batch = await (await get(busy, f"/v0/runs/{run.id}/batch")).json()
    actions = await (await get(busy, f"/v0/runs/{run.id}/actions")).json()

    assert batch == [{**run.event, "user": {}}]
    assert actions == run.steps
    assert (await get(busy, "/v0/runs/unknown/batch")).status == 404


async def test_outside_dev_mode_a_runs_state_needs_the_key(open_lab: Any) -> None:
    key = "signkey-test-0123456789abcdef0123456789abcdef"
    lab = await open_lab(signing_key=key)

    assert (await get(lab, "/v0/runs/any/batch")).status == 401
