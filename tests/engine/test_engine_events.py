"""Events in: what ``POST /e/<key>`` takes, answers, and recognises."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import inngest
import pytest

from devstack.engine import EventRefusedError

pytestmark = pytest.mark.anyio

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


async def post(lab: Any, body: Any, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{lab.engine.url}/e/any-key", data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


@pytest.fixture
async def listening(lab: Any) -> Any:
    """A lab whose app has one function on ``lab/go``."""
    lab.app.function("song")(lambda ctx: None)
    await lab.serve()
    return lab


async def test_one_event_is_answered_with_one_id(listening: Any) -> None:
    status, body = await post(listening, {"name": "lab/go", "data": {}})

    assert (status, body["status"], len(body["ids"])) == (200, 200, 1)
    assert ULID.fullmatch(body["ids"][0])


async def test_a_list_of_events_is_answered_with_one_id_each_in_order(listening: Any) -> None:
    _, body = await post(listening, [{"name": "lab/go", "data": {"n": n}} for n in range(3)])
    await listening.engine.wait_idle(10)

    assert len(set(body["ids"])) == 3
    runs = listening.runs_of("song")
    assert [run.event["data"]["n"] for run in runs] == [0, 1, 2]
    assert [run.event["id"] for run in runs] == body["ids"]


@pytest.mark.parametrize(
    "event", [{"data": {}}, {"name": "", "data": {}}, [{"name": "lab/go"}, {"data": {}}]]
)
async def test_a_missing_name_is_refused_and_nothing_is_started(listening: Any, event: Any) -> None:
    assert await post(listening, event) == (
        400,
        {"ids": [""], "status": 400, "error": "event name is empty"},
    )
    assert not listening.engine.runs


@pytest.mark.parametrize("body", [b"{", b"", b"\xff"])
async def test_what_is_not_json_is_refused(listening: Any, body: bytes) -> None:
    status, answer = await post(listening, body)

    assert (status, answer["error"]) == (400, "the body is not JSON")


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (1, "object"),
        ({"name": "lab/go", "data": "text"}, "data"),
        ({"name": 5}, "name"),
        ({"name": "lab/go", "id": 5}, "id"),
        ({"name": "lab/go", "ts": "now"}, "ts"),
        ({"name": "lab/go", "data": {"x": "y" * 512 * 1024}}, "max size"),
    ],
)
async def test_an_event_of_the_wrong_form_is_refused(listening: Any, event: Any, word: str) -> None:
    status, answer = await post(listening, event)

    assert status == 400
    assert word in answer["error"]


async def test_a_known_id_starts_no_second_run_and_the_sender_cannot_tell(
    listening: Any,
) -> None:
    event = {"name": "lab/go", "id": "evt-1", "data": {"n": 1}}

    first = await post(listening, event)
    second = await post(listening, event)
    await listening.engine.wait_idle(10)

    assert (first[0], second[0]) == (200, 200)
    assert first[1]["ids"] != second[1]["ids"]
    (run,) = listening.runs_of("song")
    assert run.event["id"] == "evt-1"


async def test_an_id_is_forgotten_after_24_hours(open_lab: Any) -> None:
    now = [1_800_000_000.0]
    lab = await open_lab(clock=lambda: now[0])
    lab.app.function("song")(lambda ctx: None)
    await lab.serve()

    for hours in (0, 23.9, 24.1, 24.2):
        now[0] = 1_800_000_000.0 + hours * 3600
        await lab.engine.send({"name": "lab/go", "id": "evt-1", "data": {}})
    await lab.engine.wait_idle(10)

    assert len(lab.runs_of("song")) == 2


async def test_an_id_is_known_to_each_function_by_itself(lab: Any) -> None:
    lab.app.function("song")(lambda ctx: None)
    lab.app.function("mail")(lambda ctx: None)
    await lab.serve()

    for _ in range(2):
        await lab.engine.send({"name": "lab/go", "id": "evt-1", "data": {}})
    await lab.engine.wait_idle(10)

    assert (len(lab.runs_of("song")), len(lab.runs_of("mail"))) == (1, 1)


async def test_a_retried_request_of_the_sdk_starts_no_second_run(listening: Any) -> None:
    """The SDK's retries carry the seed of the first try, so that they make the same ids."""
    seed = {"x-inngest-event-id-seed": "1795433591082,AAECAwQFBgcICQ=="}
    events = [{"name": "lab/go", "data": {"n": n}} for n in range(2)]

    first = await post(listening, events, **seed)
    second = await post(listening, events, **seed)
    await listening.engine.wait_idle(10)

    assert first == second
    assert len(set(first[1]["ids"])) == 2
    assert len(listening.runs_of("song")) == 2


@pytest.mark.parametrize("seed", ["nonsense", "1,AAAA", "x,AAECAwQFBgcICQ==", "1,###"])
async def test_a_seed_without_sense_is_ignored(listening: Any, seed: str) -> None:
    status, body = await post(listening, {"name": "lab/go"}, **{"x-inngest-event-id-seed": seed})

    assert status == 200
    assert ULID.fullmatch(body["ids"][0])


async def test_the_event_of_a_call_is_the_senders(listening: Any) -> None:
    event = {
        "name": "lab/go",
        "id": "evt-1",
        "data": {"é": [1, 2.5, None, "\U0001f3b5"]},
        "ts": 1795433591082,
        "user": {"id": "u"},
    }

    await listening.engine.send(event)
    await listening.engine.wait_idle(10)

    (received,) = listening.app.received
    assert received.body["event"] == event
    assert received.body["events"] == [event]


async def test_what_the_sender_left_out_is_filled_in(open_lab: Any) -> None:
    lab = await open_lab(clock=lambda: 1_800_000_000.5)
    lab.app.function("song")(lambda ctx: None)
    await lab.serve()

    (event_id,) = await lab.engine.send({"name": "lab/go"})
    await lab.engine.wait_idle(10)

    (received,) = lab.app.received
    assert received.body["event"] == {
        "name": "lab/go",
        "id": event_id,
        "data": {},
        "ts": 1_800_000_000_500,
        "user": {},
    }


async def test_the_sdk_sends_from_inside_a_step(lab: Any) -> None:
    @lab.app.function("song")
    def song(ctx: inngest.ContextSync) -> Any:
        return ctx.step.send_event("send", inngest.Event(name="lab/sent", data={"n": 1}))

    @lab.app.function("mail", event="lab/sent")
    def mail(ctx: inngest.ContextSync) -> Any:
        return ctx.event.data

    run = await lab.go()

    (mail_run,) = lab.runs_of("mail")
    assert run.output == [mail_run.event["id"]]
    assert mail_run.output == {"n": 1}


async def test_events_that_no_function_wants_start_nothing(listening: Any) -> None:
    status, _ = await post(listening, {"name": "lab/other", "data": {}})

    assert status == 200
    assert not listening.engine.runs


async def test_a_trigger_expression_chooses_among_events(lab: Any) -> None:
    trigger = inngest.TriggerEvent(event="lab/go", expression="event.data.kind == 'song'")
    lab.app.function("song", trigger=trigger)(lambda ctx: None)

    await lab.go({"kind": "mail"}, {"kind": "song"}, {})

    assert [run.event["data"] for run in lab.runs_of("song")] == [{"kind": "song"}]


async def test_one_event_starts_a_function_of_two_fitting_triggers_once(lab: Any) -> None:
    triggers = [inngest.TriggerEvent(event="lab/go"), inngest.TriggerEvent(event="lab/too")]
    lab.app.function("song", trigger=[*triggers, triggers[0]])(lambda ctx: None)
    await lab.serve()

    await lab.send()
    await lab.send(name="lab/too")
    await lab.engine.wait_idle(10)

    assert [run.event["name"] for run in lab.runs_of("song")] == ["lab/go", "lab/too"]


async def test_idempotency_starts_one_run_for_each_value_of_its_key(lab: Any) -> None:
    lab.app.function("song", idempotency="event.data.orderId")(lambda ctx: None)

    await lab.go({"orderId": "a"}, {"orderId": "b"}, {"orderId": "a"})

    assert [run.event["data"]["orderId"] for run in lab.runs_of("song")] == ["a", "b"]


async def test_send_refuses_as_the_endpoint_does(lab: Any) -> None:
    with pytest.raises(EventRefusedError, match="event name is empty"):
        await lab.engine.send({"data": {}})
