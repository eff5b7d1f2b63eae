"""The ledger: one row for every call that may cost money, and none of them made in vain."""

from __future__ import annotations

import hashlib

import pytest
from recovery_world import RecoveryWorld
from world import GENERATING, on

from devstack.faults import Call, Fault, always, times
from devstack.music.faults import (
    BAD_PROMPT,
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MIDDLE,
    INVALID_KEY,
    TRUNCATED,
    throttled,
    unavailable,
)

MUSIC = on("music")
LATE = Fault(delay_seconds=4.5)
"""Longer than the service reads: the song is made, and nobody is there to take it."""


ENDS = {
    "rejected": (BAD_PROMPT, "rejected", "bad_prompt", 400),
    "throttled": (throttled(), "refused", "concurrent_limit_exceeded", 429),
    "a wrong key": (INVALID_KEY, "refused", "invalid_api_key", 401),
    "unavailable": (unavailable(503), "refused", "http_503", 503),
    "read timeout": (LATE, "unknown", "read_timeout", None),
    "cut before the song": (CUT_BEFORE, "unknown", "connection_cut", None),
    "cut after the song": (CUT_AFTER, "unknown", "connection_cut", None),
    "cut in the song": (CUT_MIDDLE, "unknown", "connection_cut", None),
    "truncated": (TRUNCATED, "unknown", "audio_truncated", 200),
}
"""What befalls a call: outcome, reason and status that the ledger keeps of it."""


@pytest.mark.parametrize("end", ENDS)
def test_each_way_a_call_can_end_is_one_row(world: RecoveryWorld, end: str) -> None:
    """The row says for what, by whom and how it was made; the siblings' say that songs came."""
    fault, outcome, reason, http_status = ENDS[end]
    world.faults.add(times(1, fault, MUSIC))
    paid = world.buy()

    purchases = world.shop.purchases(paid.order_id)
    assert len(purchases) == len(world.provider.calls)
    [row] = [row for row in purchases if row["outcome"] != "delivered"]
    assert (row["outcome"], row["reason"], row["http_status"]) == (outcome, reason, http_status)
    prompt = world.provider.calls[0].prompt
    assert str(row["order_id"]) == paid.order_id
    assert (row["variant_number"] in (1, 2, 3), row["number"]) == (True, 1)
    assert (row["run_id"], row["attempt"]) == (world.the_run().id, 0)
    assert row["prompt_sha256"] == hashlib.sha256(prompt.encode()).hexdigest()
    assert (row["model_id"], row["length_ms"]) == ("music_v1", 60_000)
    assert row["opened_at"] < row["closed_at"]
    assert sum(row["outcome"] == "delivered" for row in purchases) == len(world.played(paid))


def one_unlucky_variant(world: RecoveryWorld, fault: Fault, calls: int) -> None:
    """Commits the fault on a variant's first calls, and leaves its siblings alone."""

    def is_its(call: Call) -> bool:
        number = world.faults.count("music")
        return MUSIC(call) and (number == 1 or 4 <= number < 3 + calls)

    world.faults.add(always(fault, is_its))


def test_delivered_songs_are_left_alone_by_the_retries_of_another(world: RecoveryWorld) -> None:
    one_unlucky_variant(world, unavailable(503), calls=4)
    paid = world.buy()

    attempts = [attempt for step, attempt, _ in world.operations() if step == GENERATING]
    assert attempts == [0, 1, 2, 3, 4]
    assert len(world.provider.calls) == 3 + 4
    assert world.outcomes(paid) == ["delivered"] * 3 + ["refused"] * 4
    world.assert_delivered(paid)


def test_a_replay_of_an_order_with_a_song_buys_nothing(world: RecoveryWorld) -> None:
    """Also where a variant had failed: what was sold is sold."""
    world.faults.add(times(1, BAD_PROMPT, MUSIC))
    paid = world.buy()
    before = world.state()
    world.run_again()
    world.rest()

    assert world.generating_runs() == 2
    assert len(world.provider.calls) == 3
    assert world.state() == before
    assert world.order(paid)["status"] == "completed"


def test_a_replay_of_a_failed_order_buys_its_three_songs(world: RecoveryWorld) -> None:
    """The operator has mended the key; the dead letter is resolved by the songs."""
    broken = [True]
    world.faults.add(lambda call: INVALID_KEY if MUSIC(call) and broken else None)
    paid = world.buy()
    assert world.order(paid)["status"] == "failed"
    assert len(world.open_letters()) == 1

    broken.clear()
    world.run_again()
    world.rest()

    assert world.outcomes(paid) == ["delivered"] * 3 + ["refused"] * 3
    world.assert_delivered(paid)
    assert len(world.shop.dead_letters()) == 1


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_of_one_order_that_start_together_buy_three_songs(
    world: RecoveryWorld, runs: int
) -> None:
    world.provider.compose_seconds = 0.15
    paid = world.stored_order()
    world.start_together(paid, runs)
    world.rest()

    assert world.generating_runs() == runs
    assert {run.status for run in world.runs()} == {"completed"}
    assert len(world.provider.calls) == 3
    assert world.outcomes(paid) == ["delivered"] * 3
    world.assert_delivered(paid)


def test_a_replay_while_the_run_is_at_work_buys_three_songs(world: RecoveryWorld) -> None:
    """It comes when all three calls are under way, and must wait for what they bring."""
    world.provider.compose_seconds = 0.4
    paid = world.pay()
    world.eventually(lambda: len(world.provider.calls) == 3, "three calls")
    world.run_again()
    world.rest()

    assert world.generating_runs() == 2
    assert len(world.provider.calls) == 3
    world.assert_delivered(paid)


DOUBTS: dict[str, Fault] = {
    "cut after the song": CUT_AFTER,
    "cut before it": CUT_BEFORE,
    "truncated": TRUNCATED,
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_call_in_doubt_is_made_once_more_and_no_more(world: RecoveryWorld, doubt: str) -> None:
    """Then the variant fails for that reason, and the order with its siblings does not."""
    one_unlucky_variant(world, DOUBTS[doubt], calls=100)
    paid = world.buy()

    assert len(world.provider.calls) == 4
    assert world.outcomes(paid) == ["delivered"] * 2 + ["unknown"] * 2
    assert sorted(filter(None, world.reasons(paid))) == ["outcome_unknown"]
    assert sorted(world.states(paid)) == ["complete", "complete", "failed"]
    assert world.order(paid)["status"] == "completed"
    assert world.open_letters() == []


def test_no_replay_buys_again_what_was_twice_in_doubt(world: RecoveryWorld) -> None:
    """Money may be gone twice for each; a third time would not be the machine's to decide."""
    broken = [True]
    world.faults.add(lambda call: CUT_AFTER if MUSIC(call) and broken else None)
    paid = world.buy()
    assert world.outcomes(paid) == ["unknown"] * 6
    assert world.reasons(paid) == ["outcome_unknown"] * 3

    broken.clear()
    world.run_again()
    world.rest()

    assert len(world.provider.calls) == 6
    assert world.order(paid)["status"] == "failed"
    [letter] = world.open_letters()
    assert letter["run_id"] == world.runs()[1].id


def test_a_doubt_counts_although_other_calls_came_between(world: RecoveryWorld) -> None:
    """Refused calls cost nothing, so they neither use up the second purchase nor renew it."""
    unlucky = iter([CUT_AFTER, unavailable(503), unavailable(503), CUT_AFTER])

    def rule(call: Call) -> Fault | None:
        number = world.faults.count("music")
        return next(unlucky, None) if MUSIC(call) and (number == 1 or number > 3) else None

    world.faults.add(rule)
    paid = world.buy()

    assert len(world.provider.calls) == 6
    assert world.outcomes(paid) == ["delivered"] * 2 + ["refused"] * 2 + ["unknown"] * 2
    assert sorted(filter(None, world.reasons(paid))) == ["outcome_unknown"]
