"""What the provider can do to an order, and what it then costs and leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from world import GENERATE, GENERATING, STEPS, Paid, World, on

from devstack.faults import Call, Fault, always, times
from devstack.music.faults import (
    BAD_PROMPT,
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MIDDLE,
    EMPTY_AUDIO,
    FORBIDDEN,
    HTML_PAGE,
    INVALID_KEY,
    JSON_AS_AUDIO,
    MISSING_PERMISSIONS,
    PAID_PLAN_REQUIRED,
    PAYMENT_REQUIRED,
    QUOTA_EXCEEDED,
    TRUNCATED,
    VALIDATION_ERROR,
    answer,
    bad_prompt,
    throttled,
    unavailable,
)

MUSIC = on("music")
SUGGESTION = "A warm acoustic birthday song for «my sister»."


def sha256(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def one_unlucky_variant(world: World) -> Callable[[Call], bool]:
    """The first call of all, and every call after the first three: these are one variant's."""
    return lambda call: (
        MUSIC(call) and (world.faults.count("music") == 1 or world.faults.count("music") > 3)
    )


def attempts_of_generating(world: World) -> list[tuple[int, str | None]]:
    return [(attempt, op) for step, attempt, op in world.operations() if step == GENERATING]


def assert_failed_with_one_dead_letter(world: World, paid: Paid, *, retries: int) -> None:
    """The order has failed, and one open row says so with everything that is needed."""
    assert world.order(paid)["status"] == "failed"
    assert world.states(paid) == ["failed"] * 3
    letter = world.dead_letter()
    assert letter["job_type"] == "song_generation"
    assert str(letter["order_id"]) == paid.order_id
    assert letter["run_id"] == world.the_run().id
    assert letter["event_data"] == {
        "orderId": paid.order_id,
        "userId": paid.customer.user_id,
        "customizationId": paid.customer.customization_id,
    }
    assert letter["retry_count"] == retries
    assert letter["resolved_at"] is None
    assert world.the_run().status == "failed"
    [handled] = world.engine.runs_of(f"{GENERATE}-failure")
    assert handled.status == "completed"
    assert world.shop.rows("select * from public.variant_claims") == []


# Rejected: the content


def test_one_rejected_variant_does_not_disturb_its_siblings(world: World) -> None:
    world.faults.add(times(1, BAD_PROMPT, MUSIC))
    paid = world.buy()

    assert world.order(paid)["status"] == "completed"
    assert sorted(world.states(paid)) == ["complete", "complete", "failed"]
    assert sorted(filter(None, world.reasons(paid))) == ["bad_prompt"]
    assert attempts_of_generating(world) == [(0, "StepRun")]
    assert len(world.provider.calls) == 3
    assert world.provider.songs_made == 2
    assert world.outcomes(paid) == ["delivered", "delivered", "rejected"]
    assert world.shop.dead_letters() == []


def test_a_rejected_variant_is_tried_once_with_the_suggestion_it_came_with(world: World) -> None:
    world.faults.add(times(1, bad_prompt(SUGGESTION), MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    assert attempts_of_generating(world) == [(0, "StepRun")]
    assert [call.prompt for call in world.provider.calls].count(SUGGESTION) == 1
    assert len(world.provider.calls) == 4
    assert world.provider.songs_made == 3
    assert world.outcomes(paid) == ["delivered", "delivered", "delivered", "rejected"]
    suggested = [
        row
        for row in world.shop.purchases(paid.order_id)
        if row["prompt_sha256"] == sha256(SUGGESTION)
    ]
    assert [(row["number"], row["outcome"]) for row in suggested] == [(2, "delivered")]


def test_a_rejected_suggestion_is_the_end_of_its_variant(world: World) -> None:
    """Its own suggestion is not followed: two calls are enough."""
    rejected = lambda call: MUSIC(call) and call.detail == sha256(SUGGESTION)  # noqa: E731
    world.faults.add(always(bad_prompt("Another one."), rejected))
    world.faults.add(times(1, bad_prompt(SUGGESTION), MUSIC))
    paid = world.buy()

    assert sorted(world.states(paid)) == ["complete", "complete", "failed"]
    assert len(world.provider.calls) == 4
    assert world.outcomes(paid) == ["delivered", "delivered", "rejected", "rejected"]
    assert attempts_of_generating(world) == [(0, "StepRun")]


@pytest.mark.parametrize(
    "suggestion",
    ["x" * 5_000, "nul \0 and bell \a", "half a pair \ud800", "two\nlines"],
    ids=["too long", "control characters", "half a pair", "two lines"],
)
def test_any_suggestion_can_be_sent(world: World, suggestion: str) -> None:
    world.faults.add(times(1, bad_prompt(suggestion), MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    assert attempts_of_generating(world) == [(0, "StepRun")]
    assert len(world.provider.calls) == 4
    assert len({call.prompt for call in world.provider.calls}) == 2
    assert max(len(call.prompt) for call in world.provider.calls) <= 2_000


@pytest.mark.parametrize("suggestion", ["", "   ", "\n", "\0"])
def test_an_empty_suggestion_is_none(world: World, suggestion: str) -> None:
    world.faults.add(times(1, bad_prompt(suggestion), MUSIC))
    world.buy()

    assert len(world.provider.calls) == 3


@pytest.mark.parametrize(
    ("fault", "reason"), [(BAD_PROMPT, "bad_prompt"), (VALIDATION_ERROR, "invalid_request")]
)
def test_an_order_whose_variants_are_all_rejected_is_a_dead_letter_at_once(
    world: World, fault: Fault, reason: str
) -> None:
    """Nothing was bought, nothing was retried."""
    world.faults.add(always(fault, MUSIC))
    paid = world.buy()

    assert_failed_with_one_dead_letter(world, paid, retries=0)
    assert world.reasons(paid) == [reason] * 3
    assert reason in world.dead_letter()["error_message"]
    assert len(world.provider.calls) == 3
    assert world.provider.songs_made == 0
    assert world.outcomes(paid) == ["rejected"] * 3
    assert attempts_of_generating(world) == [(0, "StepRun")]


def test_a_replay_of_a_failed_order_tries_again_and_resolves_the_dead_letter(
    world: World,
) -> None:
    world.faults.add(always(BAD_PROMPT, MUSIC))
    paid = world.buy()
    world.faults.clear()
    world.run_again()
    world.rest()

    assert world.order(paid)["status"] == "completed"
    assert world.states(paid) == ["complete"] * 3
    assert world.reasons(paid) == [None] * 3
    assert world.provider.songs_made == 3
    assert world.dead_letter()["resolved_at"] is not None


def test_a_replay_that_fails_too_leaves_one_open_dead_letter(world: World) -> None:
    world.faults.add(always(BAD_PROMPT, MUSIC))
    world.buy()
    world.run_again()
    world.rest()

    letter = world.dead_letter()
    assert letter["run_id"] == world.runs()[1].id
    assert letter["resolved_at"] is None


# Refused: the operator's business


@pytest.mark.parametrize(
    ("fault", "reason", "advice"),
    [
        (INVALID_KEY, "invalid_api_key", "ELEVEN_LABS_API_KEY"),
        (MISSING_PERMISSIONS, "unauthorized", "music permission"),
        (QUOTA_EXCEEDED, "quota_exceeded", "credits"),
        (PAYMENT_REQUIRED, "limited_access", "plan"),
        (PAID_PLAN_REQUIRED, "paid_plan_required", "plan"),
        (FORBIDDEN, "only_for_creator+", "plan"),
        (answer(401, "no"), "http_401", "ELEVEN_LABS_API_KEY"),
        (answer(403, "no"), "http_403", "plan"),
        (answer(404, "Not Found"), "http_404", "ELEVEN_LABS_BASE_URL"),
        (Fault(status=302, headers={"Location": "/x"}), "http_302", "ELEVEN_LABS_BASE_URL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_the_operator_can_mend_is_a_dead_letter_that_says_how(
    world: World, fault: Fault, reason: str, advice: str
) -> None:
    """Another attempt would be refused as well, so there is none."""
    world.faults.add(always(fault, MUSIC))
    paid = world.buy()

    assert_failed_with_one_dead_letter(world, paid, retries=0)
    assert world.reasons(paid) == [reason] * 3
    message = world.dead_letter()["error_message"]
    assert reason in message
    assert advice in message
    assert len(world.provider.calls) == 3
    assert world.outcomes(paid) == ["refused"] * 3


# Throttled


def asked_for(world: World, seconds: float) -> float:
    """So many of the engine's seconds, less the moment in which the answer travels."""
    return 0.995 * seconds * world.stack.options.time_scale


def gap_before_the_last_call(world: World) -> float:
    *_, before, last = world.provider.calls
    return last.at - before.at


def test_a_throttled_variant_waits_as_long_as_the_provider_asked(world: World) -> None:
    """And what its siblings have finished meanwhile is not bought again."""
    world.faults.add(times(1, throttled(20), MUSIC))
    paid = world.buy()

    assert gap_before_the_last_call(world) >= asked_for(world, 20)
    assert world.states(paid) == ["complete"] * 3
    assert attempts_of_generating(world) == [(1, "StepRun")]
    assert [call.status for call in world.the_run().calls] == [206, 206, 206, 500, 206, 206, 200]
    assert len(world.provider.calls) == 4
    assert world.provider.songs_made == 3
    assert world.outcomes(paid) == ["delivered", "delivered", "delivered", "refused"]


def test_the_longest_of_several_waits_holds(world: World) -> None:
    for retry_after in (2, 20, None):
        world.faults.add(times(1, throttled(retry_after), MUSIC))
    paid = world.buy()

    third, fourth = world.provider.calls[2:4]
    assert fourth.at - third.at >= asked_for(world, 20)
    assert world.states(paid) == ["complete"] * 3
    assert len(world.provider.calls) == 6


@pytest.mark.parametrize(
    "code", ["concurrent_limit_exceeded", "rate_limit_exceeded", "system_busy"]
)
def test_without_a_retry_after_the_engine_s_backoff_holds(world: World, code: str) -> None:
    world.faults.add(times(1, throttled(code=code), MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    refused = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "refused"]
    assert [(row["reason"], row["http_status"]) for row in refused] == [(code, 429)]
    assert world.provider.songs_made == 3


def test_a_plan_for_two_songs_at_once_still_gives_three(world: World) -> None:
    world.provider.concurrency_limit = 2
    world.provider.compose_seconds = 0.1
    paid = world.buy()

    assert world.order(paid)["status"] == "completed"
    assert world.states(paid) == ["complete"] * 3
    assert world.provider.songs_made == 3
    assert world.outcomes(paid).count("delivered") == 3
    assert set(world.outcomes(paid)) == {"delivered", "refused"}


# Unavailable


def test_a_provider_that_stays_down_is_one_dead_letter_with_the_true_retry_count(
    world: World,
) -> None:
    world.faults.add(always(unavailable(503), MUSIC))
    paid = world.buy()

    assert_failed_with_one_dead_letter(world, paid, retries=4)
    assert world.reasons(paid) == ["http_503"] * 3
    assert "http_503" in world.dead_letter()["error_message"]
    assert attempts_of_generating(world) == [
        *((attempt, "StepError") for attempt in range(4)),
        (4, "StepRun"),
    ]
    assert len(world.provider.calls) == 15
    assert world.outcomes(paid) == ["refused"] * 15
    assert world.provider.songs_made == 0


def test_the_dead_letter_names_what_failed_in_earlier_attempts_too(world: World) -> None:
    """One variant is rejected at once, the two others are not to be had until the last attempt."""
    world.faults.add(times(1, BAD_PROMPT, MUSIC))
    world.faults.add(always(unavailable(503), MUSIC))
    paid = world.buy()

    assert_failed_with_one_dead_letter(world, paid, retries=4)
    message = world.dead_letter()["error_message"]
    assert message.count("bad_prompt") == 1
    assert message.count("http_503") == 2


def test_on_the_last_attempt_what_exists_is_delivered(world: World) -> None:
    """One variant never comes; two songs are an order."""
    world.faults.add(always(unavailable(500), one_unlucky_variant(world)))
    paid = world.buy()

    assert world.order(paid)["status"] == "completed"
    assert sorted(world.states(paid)) == ["complete", "complete", "failed"]
    assert sorted(filter(None, world.reasons(paid))) == ["http_500"]
    assert len(world.provider.calls) == 2 + 5
    assert world.provider.songs_made == 2
    assert world.shop.dead_letters() == []
    assert world.the_run().status == "completed"


@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_a_variant_that_failed_once_for_a_while_is_tried_again(world: World, status: int) -> None:
    world.faults.add(times(1, unavailable(status), MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    assert len(world.provider.calls) == 4
    assert world.provider.songs_made == 3


def test_a_retry_after_of_an_unavailable_provider_is_honoured_too(world: World) -> None:
    world.faults.add(times(1, unavailable(503, retry_after=20), MUSIC))
    world.buy()

    assert gap_before_the_last_call(world) >= asked_for(world, 20)
    assert world.provider.songs_made == 3


@pytest.mark.parametrize(
    "fault", [HTML_PAGE, EMPTY_AUDIO, JSON_AS_AUDIO], ids=["html", "empty", "json"]
)
def test_a_200_that_is_no_song_is_tried_again(world: World, fault: Fault) -> None:
    world.faults.add(times(1, fault, MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    assert len(world.provider.calls) == 4
    assert world.provider.songs_made == 3
    refused = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "refused"]
    assert [(row["reason"], row["http_status"]) for row in refused] == [("not_audio", 200)]


# Nobody knows


@pytest.mark.parametrize(
    ("fault", "billed", "reason"),
    [
        (CUT_BEFORE, 3, "connection_cut"),
        (CUT_AFTER, 4, "connection_cut"),
        (CUT_MIDDLE, 4, "connection_cut"),
        (TRUNCATED, 4, "audio_truncated"),
        (unavailable(504), 3, "http_504"),
    ],
    ids=["cut before", "cut after", "cut in the middle", "truncated", "504"],
)
def test_a_call_that_may_have_been_billed_is_repeated_once_and_noted(
    world: World, fault: Fault, billed: int, reason: str
) -> None:
    world.faults.add(times(1, fault, MUSIC))
    paid = world.buy()

    assert world.states(paid) == ["complete"] * 3
    assert len(world.provider.calls) == 4
    assert world.provider.songs_made == billed
    assert world.outcomes(paid) == ["delivered", "delivered", "delivered", "unknown"]
    unknown = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "unknown"]
    assert [row["reason"] for row in unknown] == [reason]


def test_after_two_calls_in_doubt_no_third_is_made(world: World) -> None:
    """At most one more purchase than songs, for each variant, whatever else is retried."""
    world.faults.add(always(CUT_AFTER, MUSIC))
    paid = world.buy()

    assert_failed_with_one_dead_letter(world, paid, retries=1)
    assert world.provider.songs_made == 6
    assert len(world.provider.calls) == 6
    assert world.outcomes(paid) == ["unknown"] * 6
    assert world.reasons(paid) == ["outcome_unknown"] * 3


def test_not_even_a_replay_buys_what_is_twice_in_doubt(world: World) -> None:
    world.faults.add(always(CUT_AFTER, MUSIC))
    world.buy()
    world.faults.clear()
    world.run_again()
    world.rest()

    assert world.provider.songs_made == 6
    assert [order["status"] for order in world.shop.orders()] == ["failed"]
    assert len(world.shop.dead_letters()) == 1


# What it says


def test_words_that_the_provider_quotes_stay_out_of_engine_log_and_database(world: World) -> None:
    """Its messages may hold the prompt; codes are all that is kept."""

    def quote(call: Call) -> Fault | None:
        if call.service != "music":
            return None
        prompt = json.loads(call.body)["prompt"]
        detail = {"status": "bad_prompt", "message": prompt, "code": prompt, "prompt": prompt}
        return answer(400, detail, {"x-trace-id": "1", "x-prompt": "heliotrope aunt"})

    world.faults.add(quote)
    paid = world.buy(world.shop.add_customer(recipient_name="heliotrope aunt"))
    tables = ("song_variants", "purchases", "failed_jobs", "orders")
    told = "".join(repr(world.shop.rows(f"select * from public.{name}")) for name in tables)
    told += repr(world.engine.runs) + world.log

    assert world.order(paid)["status"] == "failed"
    assert "heliotrope" not in told.lower()


def test_the_steps_before_are_not_repeated_however_often_the_provider_fails(world: World) -> None:
    world.faults.add(times(3, unavailable(503), one_unlucky_variant(world)))
    world.buy()
    others = [op for op in world.operations() if op[0] not in (GENERATING, None)]

    assert others == [(step, 0, "StepRun") for step in STEPS if step != GENERATING]
    assert world.faults.count("rest", "customizations") == 1
    assert world.provider.songs_made == 3
