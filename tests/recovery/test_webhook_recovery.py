"""What the webhook could not finish is finished later, whether or not Stripe asks again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from recovery_world import APP_ENVIRON, DEADLINE_SECONDS, GRACE_SECONDS, RecoveryWorld
from world import Json, on

from devstack.faults import Fault, always, times

BUDGET_SECONDS = float(APP_ENVIRON["WEBHOOK_BUDGET_SECONDS"])
A_LITTLE_SECONDS = 0.7


def test_an_order_stored_while_inngest_was_away_is_made_after_its_return(
    world: RecoveryWorld,
) -> None:
    """Stripe was thanked in time and never asks again; even the process that knew is gone."""
    world.engine.away = True
    paid = world.pay()
    assert (paid.answer.status, paid.said["handedOver"]) == (200, False)
    assert paid.answer.seconds < min(3.0, BUDGET_SECONDS + A_LITTLE_SECONDS)
    world.crash()
    world.restart()
    assert world.runs() == []

    world.engine.away = False
    world.let_pass(GRACE_SECONDS)
    assert world.found() == {"not_handed_over": 1}
    world.assert_delivered(paid)
    assert world.generating_runs() == 1


@pytest.mark.parametrize("redelivered", [True, False], ids=["redelivered", "not redelivered"])
def test_an_answer_lost_after_the_commit_costs_nothing(
    world: RecoveryWorld, redelivered: bool
) -> None:
    """The database has the order and the service does not know it."""
    event = world.paid_event(world.shop.add_customer())
    world.faults.add(times(1, Fault(cut="after"), on("rest", "rpc/record_checkout")))
    first = world.deliver(event)
    assert first.status == 503
    [order] = world.shop.orders()
    assert (order["status"], order["handed_over_at"]) == ("paid", None)

    if redelivered:
        second = world.deliver(event)
        said = json.loads(second.body)
        assert (second.status, said["action"]) == (200, "known")
        assert said["orderId"] == str(order["id"])
    else:
        world.let_pass(GRACE_SECONDS)
        assert world.found() == {"not_handed_over": 1}
    world.rest()

    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.generating_runs() == 1
    assert world.provider.songs_made == 3
    assert world.shop.dead_letters() == []


def test_a_redelivery_after_inngest_forgot_starts_nothing_twice(world: RecoveryWorld) -> None:
    """It repeats the handover under the same id; only the sweep starts an order anew."""
    paid = world.buy()
    world.set_order(paid, status="paid")
    world.deliver(paid.event)
    world.rest()

    assert world.generating_runs() == 1
    assert len(world.provider.calls) == 3


def without_customization(world: RecoveryWorld) -> tuple[Json, Callable[[], None]]:
    """The customer deleted it between the checkout's start and its end."""
    customer = world.shop.add_customer()
    [row] = world.shop.rows(
        "delete from public.customizations where id = %s returning *", customer.customization_id
    )
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))

    def bring_back() -> None:
        world.shop.rows(
            f"insert into public.customizations ({names}) values ({places})", *row.values()
        )

    return world.paid_event(customer), bring_back


def test_a_paid_session_without_its_customization_waits_for_a_person(
    world: RecoveryWorld,
) -> None:
    """The dead letter holds all of it, no sweep touches it, and what Stripe sends again once the
    shop is mended makes the order and resolves the letter."""
    event, bring_back = without_customization(world)
    assert world.deliver(event).status == 200
    letter = world.dead_letter()
    assert (letter["job_type"], letter["resolved_at"]) == ("checkout", None)
    assert letter["event_data"]["data"]["object"] == event["data"]["object"]
    assert letter["stripe_session_id"] == event["data"]["object"]["id"]
    world.let_pass(DEADLINE_SECONDS)
    assert world.found() == {}
    assert world.shop.orders() == []

    bring_back()
    assert world.deliver(event).status == 200
    world.rest()

    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.dead_letter()["resolved_at"] is not None


@pytest.mark.parametrize(
    "malformed", ["", "42", "not-a-uuid", "7fc947b7-f64d-4524-90dd-c5b5bebfce3c0"]
)
def test_a_paid_session_with_malformed_ids_is_a_dead_letter_and_not_an_outage(
    world: RecoveryWorld, malformed: str
) -> None:
    """Stripe need not send it again: a person has to look."""
    customer = world.shop.add_customer()
    metadata = {"userId": customer.user_id, "customizationId": malformed}
    event = world.paid_event(customer, metadata=metadata)
    answers = [world.deliver(event).status for _ in range(2)]

    assert answers == [200, 200]
    assert world.shop.orders() == []
    letter = world.dead_letter()
    assert (letter["job_type"], letter["retry_count"]) == ("checkout", 0)
    assert letter["event_data"]["data"]["object"]["metadata"] == metadata


@pytest.mark.parametrize("detail", ["rpc/record_checkout", "rpc/mark_handed_over"])
def test_stripe_has_its_answer_although_supabase_is_slow(world: RecoveryWorld, detail: str) -> None:
    """Before the order is stored: try again. After it: thank you."""
    event = world.paid_event(world.shop.add_customer())
    slow = Fault(delay_seconds=BUDGET_SECONDS + 2, cut="before")
    world.faults.add(times(1, slow, on("rest", detail)))
    first = world.deliver(event)

    assert first.status == (503 if detail == "rpc/record_checkout" else 200)
    assert BUDGET_SECONDS - 0.3 < first.seconds < BUDGET_SECONDS + A_LITTLE_SECONDS
    assert world.deliver(event).status == 200
    world.rest()
    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.generating_runs() == 1


def test_many_slow_answers_do_not_add_up(world: RecoveryWorld) -> None:
    """Each delivery has its own budget, and those of one second are not served in turn."""
    world.faults.add(always(Fault(status=503, delay_seconds=BUDGET_SECONDS + 1), on("rest")))
    events = [world.paid_event(world.shop.add_customer()) for _ in range(12)]

    async def deliver_all() -> list[float]:
        answers = await asyncio.gather(*map(world.stack.sender.deliver_once, events))
        assert {answer.status for answer in answers} == {503}
        return [answer.seconds for answer in answers]

    assert max(world.wait_for(deliver_all())) < BUDGET_SECONDS + A_LITTLE_SECONDS
