"""Every checkpoint fails once, and the order's story goes on from there: nothing done is redone."""

from __future__ import annotations

import pytest
from world import GENERATING, STEPS, World, on

from devstack.faults import Fault, always, times

DATABASE_CALLS = {
    "fetch-customization": ("GET", "customizations"),
    "update-order-generating": ("POST", "rpc/begin_generation"),
    "create-variant-records": ("POST", "song_variants"),
    "generate-and-upload-variants": ("GET", "orders"),
    "finalize-order": ("POST", "rpc/finalize_order"),
}
"""The call that each checkpoint cannot do without."""

FAULTS = {
    "answered 503": Fault(status=503),
    "cut before it was done": Fault(cut="before"),
    "cut after it was done": Fault(cut="after"),
}

INSISTED_CALLS = ["rpc/claim_variant", "rpc/finish_variant"]


def operations_with_a_retry_of(failing: str | None) -> list[tuple[str | None, int, str | None]]:
    expected: list[tuple[str | None, int, str | None]] = []
    for step in STEPS:
        if step == failing:
            expected += [(step, 0, "StepError"), (step, 1, "StepRun")]
        else:
            expected.append((step, 0, "StepRun"))
    return [*expected, (None, 0, None)]


def assert_three_songs_were_bought_once(world: World) -> None:
    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.provider.songs_made == 3
    purchases = world.shop.purchases(order["id"])
    assert [(row["variant_number"], row["outcome"]) for row in purchases] == [
        (number, "delivered") for number in (1, 2, 3)
    ]
    assert {str(row["generation_status"]) for row in world.shop.variants(order["id"])} == {
        "complete"
    }
    assert world.shop.dead_letters() == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_checkpoint_whose_database_call_fails_runs_twice_and_the_others_once(
    world: World, step: str, fault: str
) -> None:
    method, detail = DATABASE_CALLS[step]
    world.faults.add(times(1, FAULTS[fault], on("rest", detail, method)))
    world.buy()

    assert world.operations() == operations_with_a_retry_of(step)
    for name, (method, detail) in DATABASE_CALLS.items():
        calls = [call for call in world.faults.calls if on("rest", detail, method)(call)]
        assert len(calls) == (2 if name == step else 1)
    assert len(world.provider.calls) == 3
    assert_three_songs_were_bought_once(world)


@pytest.mark.parametrize("step", STEPS)
def test_a_checkpoint_whose_answer_is_lost_runs_twice_and_buys_nothing_again(
    world: World, step: str
) -> None:
    """The engine cannot know that the body ran; the database does."""
    world.faults.add(times(1, Fault(cut="after"), on("answer", step)))
    world.buy()

    assert [op for op in world.operations() if op[2] == "StepRun"] == [
        (name, 1 if name == step else 0, "StepRun") for name in STEPS
    ]
    assert len(world.operations()) == len(STEPS) + 2
    assert len(world.provider.calls) == 3
    assert_three_songs_were_bought_once(world)


@pytest.mark.parametrize("step", STEPS)
def test_a_checkpoint_may_be_called_again_although_it_had_answered(world: World, step: str) -> None:
    world.faults.add(times(1, Fault(), on("repeat", step)))
    world.buy()

    assert sum(call.repeated for call in world.the_run().calls) == 1
    assert len(world.provider.calls) == 3
    assert_three_songs_were_bought_once(world)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("detail", INSISTED_CALLS)
def test_a_call_about_one_variant_is_insisted_on_within_its_step(
    world: World, detail: str, fault: str
) -> None:
    """The step need not run again for it, and so its siblings are not disturbed."""
    world.faults.add(times(1, FAULTS[fault], on("rest", detail)))
    world.buy()

    assert world.operations() == operations_with_a_retry_of(None)
    assert world.faults.count("rest", detail) == 4
    assert_three_songs_were_bought_once(world)


@pytest.mark.parametrize("fault", FAULTS)
def test_songs_that_could_not_be_noted_are_taken_from_storage(world: World, fault: str) -> None:
    """The database stays away after the upload for longer than an attempt has patience."""
    away = world.in_first_attempt(on("rest", "rpc/finish_variant"))
    world.faults.add(always(FAULTS[fault], away))
    world.buy()

    assert world.operations() == operations_with_a_retry_of(GENERATING)
    assert len(world.provider.calls) == 3
    assert_three_songs_were_bought_once(world)


def test_a_database_that_is_away_for_the_whole_first_attempt_costs_nothing(world: World) -> None:
    """Without a claim nothing is bought."""
    away = world.in_first_attempt(on("rest", "rpc/claim_variant"))
    world.faults.add(always(Fault(status=503), away))
    world.buy()

    assert world.operations() == operations_with_a_retry_of(GENERATING)
    assert len(world.provider.calls) == 3
    assert_three_songs_were_bought_once(world)


def test_a_second_run_of_a_completed_order_does_nothing(world: World) -> None:
    """As when an operator replays it in the dashboard."""
    paid = world.buy()
    world.run_again()
    world.rest()
    second = world.runs()[1]

    assert second.step_names == STEPS[:2]
    assert second.output == {"orderId": paid.order_id, "status": "done"}
    assert_three_songs_were_bought_once(world)


def test_two_runs_of_one_order_at_once_buy_three_songs(world: World) -> None:
    """One of them finds every variant claimed, and waits for what the other brings."""
    world.provider.compose_seconds = 0.1
    world.pay()
    world.run_again()
    world.rest()

    assert len(world.runs()) == 2
    assert world.provider.songs_made == 3
    assert_three_songs_were_bought_once(world)
