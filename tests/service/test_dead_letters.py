"""Runs that cannot succeed for reasons of our own, and the failure handler's one attempt."""

from __future__ import annotations

import uuid

import pytest
from world import GENERATE, Json, World, on

from devstack.faults import Fault, always, times

EVENT = "song/generation.requested"


def send(world: World, data: Json) -> None:
    world.wait_for(world.engine.send({"name": EVENT, "data": data}))
    world.rest()


def ids(world: World) -> Json:
    customer = world.shop.add_customer()
    return {
        "orderId": str(uuid.uuid4()),
        "userId": customer.user_id,
        "customizationId": customer.customization_id,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"orderId": None},
        {"orderId": "42"},
        {"userId": 7},
        {"customizationId": ""},
        {"customizationId": ["x"]},
        {"orderId": "nul: \0"},
    ],
    ids=str,
)
def test_an_event_without_its_ids_is_a_dead_letter(world: World, change: Json) -> None:
    data = ids(world) | change
    send(world, data)

    letter = world.dead_letter()
    assert letter["job_type"] == "song_generation"
    assert letter["event_data"].keys() == data.keys()
    assert letter["run_id"] == world.the_run().id
    assert letter["retry_count"] == 0
    assert [name for name in data if name in letter["error_message"]] == list(change)
    assert len(world.the_run().calls) == 1
    assert world.provider.calls == []


def test_an_event_of_an_order_that_does_not_exist_is_a_dead_letter(world: World) -> None:
    data = ids(world)
    send(world, data)

    letter = world.dead_letter()
    assert (letter["event_data"], letter["retry_count"]) == (data, 0)
    assert "order_missing" in letter["error_message"]
    assert world.provider.calls == []


def test_an_event_of_a_customization_that_does_not_exist_is_a_dead_letter(world: World) -> None:
    data = ids(world) | {"customizationId": str(uuid.uuid4())}
    send(world, data)

    assert "customization_missing" in world.dead_letter()["error_message"]
    assert len(world.the_run().calls) == 1


def test_nobody_s_order_is_made_with_another_one_s_event(world: World) -> None:
    """The ids of an event belong together, or the run fails and nothing is done."""
    paid = world.pay(payment_status="unpaid")
    other = world.shop.add_customer()
    send(
        world,
        {
            "orderId": paid.order_id,
            "userId": other.user_id,
            "customizationId": other.customization_id,
        },
    )

    assert world.the_run().status == "failed"
    assert world.order(paid)["status"] == "pending"
    assert world.provider.calls == []


def test_an_order_that_is_not_paid_is_left_alone(world: World) -> None:
    paid = world.pay(payment_status="unpaid")
    send(
        world,
        {
            "orderId": paid.order_id,
            "userId": paid.customer.user_id,
            "customizationId": paid.customer.customization_id,
        },
    )

    assert world.order(paid)["status"] == "pending"
    assert world.the_run().output == {"orderId": paid.order_id, "status": "pending"}
    assert world.provider.calls == []
    assert world.shop.dead_letters() == []


def test_a_database_away_for_all_attempts_of_a_step_fails_the_run_with_four_retries(
    world: World,
) -> None:
    world.faults.add(always(Fault(status=503), on("rest", "customizations")))
    paid = world.buy()

    letter = world.dead_letter()
    assert letter["retry_count"] == 4
    assert "store_unavailable" in letter["error_message"]
    assert world.order(paid)["status"] == "failed"
    assert world.faults.count("rest", "customizations") == 5
    assert world.provider.calls == []


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut="after")], ids=["503", "cut"])
def test_the_failure_handler_insists_in_its_only_attempt(world: World, fault: Fault) -> None:
    """Its insert fails once; the engine would not call it again."""
    world.faults.add(always(Fault(status=503), on("rest", "customizations")))
    world.faults.add(times(1, fault, on("rest", "rpc/record_failure")))
    paid = world.buy()

    [handled] = world.engine.runs_of(f"{GENERATE}-failure")
    assert len(handled.calls) == 1
    assert world.faults.count("rest", "rpc/record_failure") == 2
    assert world.dead_letter()["retry_count"] == 4
    assert world.order(paid)["status"] == "failed"


def test_a_failure_that_could_not_be_recorded_leaves_the_order_to_the_sweep(world: World) -> None:
    """No end, no dead letter: it is still open, and so it is found."""
    world.faults.add(always(Fault(status=503), on("rest", "customizations")))
    world.faults.add(always(Fault(status=503), on("rest", "rpc/record_failure")))
    paid = world.buy()

    assert world.order(paid)["status"] == "paid"
    assert world.shop.dead_letters() == []
    assert paid.order_id in world.log


def test_the_error_s_stack_names_code_and_no_words(world: World) -> None:
    world.faults.add(always(Fault(status=503), on("rest", "customizations")))
    world.buy(world.shop.add_customer(recipient_name="heliotrope aunt"))
    letter = world.dead_letter()

    assert "heliotrope aunt" not in (letter["error_stack"] or "") + letter["error_message"]
