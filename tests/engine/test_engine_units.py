"""The engine's small parts: backoff, Retry-After, durations, expressions, ULIDs, slots."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.engine.answers import standard_error
from devstack.engine.backoff import (
    BACKOFF_SECONDS,
    Timing,
    backoff_seconds,
    parse_duration,
    retry_after_seconds,
)
from devstack.engine.expressions import ExpressionRefusedError, parse_expression
from devstack.engine.slots import Slots
from devstack.engine.ulid import new_ulid, seeded_ulid

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("attempt", "base"),
    [(0, 15), (1, 30), (2, 60), (3, 120), (4, 300), (5, 600), (9, 7200), (30, 7200)],
)
def test_the_backoff_table_with_up_to_30_seconds_of_jitter(attempt: int, base: float) -> None:
    rng = random.Random(1)
    waits = [backoff_seconds(attempt, rng) for _ in range(200)]

    assert all(base <= wait <= base + 30 for wait in waits)
    assert max(waits) - min(waits) > 25


def test_four_retries_span_four_to_six_minutes() -> None:
    assert sum(BACKOFF_SECONDS[:4]) == 225
    assert sum(BACKOFF_SECONDS[:4]) + 4 * 30 == 345


def test_a_flat_interval_replaces_the_table_but_not_what_the_app_asks_for() -> None:
    timing = Timing(retry_interval_seconds=2)

    assert [timing.retry_seconds(attempt, None) for attempt in range(3)] == [2, 2, 2]
    assert timing.retry_seconds(0, "7") == 7
    assert timing.retry_seconds(0, "nonsense") == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("2026-11-23T12:00:02.890Z", 2.89),
        ("2026-11-23T13:00:05+01:00", 5),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("2026-11-23T11:00:00Z", 1),
        ("0", 1),
        ("2026-12-23T12:00:00Z", 86400),
        ("999999999", 86400),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_time_clipped_to_a_second_and_a_day(
    header: str, seconds: float | None
) -> None:
    assert retry_after_seconds(header, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("1w", 604800), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5y", "1.5h"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


SCOPE = {
    "event": {
        "name": "e",
        "data": {"n": 1, "f": 1.5, "s": "a'b", "t": True, "none": None, "deep": {"x": "y"}},
    },
    "async": {"data": {"n": 1, "s": "z"}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.data.n", 1),
        ("event.data.deep.x", "y"),
        ("event.data.missing.deeper", None),
        ("event.data.n.x", None),
        ("event.name", "e"),
        ("event.data.n == async.data.n", True),
        ("async.data.s != 'z'", False),
        ('event.data.s == "a\'b"', True),
        ("event.data.n == 1.0", True),
        ("event.data.f == 1.5", True),
        ("event.data.n == -1", False),
        ("event.data.t == true", True),
        ("event.data.t == 1", False),
        ("event.data.n == true", False),
        ("event.data.none == null", True),
        ("event.data.missing == null", True),
        ("event.data.missing == 'x'", False),
        ("event.data.missing != 'x'", True),
        ("event.data.t && event.data.n == 1", True),
        ("event.data.n == 2 || event.data.t && event.data.n == 1", True),
        ("(event.data.n == 2 || event.data.t) && false", False),
        ("event.data.n == 2 && false || true", True),
        ("event.data.n || false", False),
        ("true==true", True),
        (" 'a && b' == 'a && b' ", True),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    assert parse_expression(text)(SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "event.data.n > 1",
        "event.data['n']",
        "!event.data.t",
        "size(event.data.s)",
        "event.data.s.startsWith('a')",
        "event.data.n + 1",
        "event.data.n == 1 == true",
        "event.data.n ==",
        "== 1",
        "(event.data.n == 1",
        "event.data.n == 1)",
        "event.data.n & 1",
        "events.data.n",
        "steps.x",
        "event.data.n 1",
        "'a' 'b'",
        "'a\\'b'",
        "'open",
        "01",
        "1.",
        "1x",
        "truely",
        "event..data",
        "event.data.",
        "has(event.data.n)",
        "event.data.n in [1]",
        "event.data.t ? 1 : 2",
    ],
)
def test_expressions_outside_the_subset_are_refused(text: str) -> None:
    with pytest.raises(ExpressionRefusedError):
        parse_expression(text)


@given(st.text(alphabet="event.dataasync =!&|()'\"1tru", max_size=30))
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    try:
        evaluate = parse_expression(text)
    except ExpressionRefusedError:
        return
    evaluate(SCOPE)


def test_ulids_sort_by_time_and_have_26_characters() -> None:
    rng = random.Random(0)
    ulids = [new_ulid(seconds, rng) for seconds in (1.0, 1.001, 2.0, NOW)]

    assert ulids == sorted(ulids)
    assert {len(ulid) for ulid in ulids} == {26}
    assert ulids[-1].startswith("01")


def test_a_known_ulid() -> None:
    # The time is that of the ULID specification's example, 01ARYZ6S41…
    assert seeded_ulid("1469918176385,AAAAAAAAAAAAAA==", 0) == "01ARYZ6S410000000000000000"
    assert seeded_ulid("1469918176385,AAAAAAAAAAAAAA==", 1) == "01ARYZ6S410000000000000001"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, ("why", "Error", "why")),
        ("text", ("why", "Error", "text")),
        ({"message": "m", "name": "N"}, ("why", "N", "m")),
        ({"error": {"message": "inner"}}, ("why", "Error", "inner")),
        ({"error": "words", "name": ""}, ("words", "Error", "why")),
        ([1], ("why", "Error", "why")),
    ],
)
def test_any_answer_makes_an_error_of_the_protocols_form(body: Any, error: Any) -> None:
    made = standard_error(body, "why")

    assert (made["error"], made["name"], made["message"]) == error


@pytest.mark.anyio
async def test_a_slot_goes_to_the_next_in_turn_and_past_those_who_gave_up() -> None:
    slots, order = Slots(), []

    async def hold(name: str) -> None:
        async with await slots.acquire([("k", 1)]):
            order.append(name)
            await asyncio.sleep(0)

    first = await slots.acquire([("k", 1)])
    tasks = {name: asyncio.create_task(hold(name)) for name in "abc"}
    await asyncio.sleep(0)
    tasks["a"].cancel()
    await first.aclose()
    tasks["b"].cancel()  # As the slot is already on its way to it.
    await asyncio.wait(tasks.values())

    assert order == ["c"]
    async with asyncio.timeout(1):
        await hold("d")
