"""What an order says of its money, and what parts of it that went back change."""

from __future__ import annotations

import pytest
from money_world import MoneyWorld, record
from story import Told

from devstack.faults import always
from devstack.music.faults import bad_prompt
from devstack.payments import events as stripe_events
from devstack.payments.events import (
    charge_refunded,
    refund_created,
    refund_failed,
    refund_updated,
)


@pytest.mark.parametrize(
    ("session", "amount", "currency"),
    [
        ({"amount_total": 1250, "currency": "eur"}, 1250, "eur"),
        ({"amount_total": 799, "currency": "USD"}, 799, "usd"),
        ({"amount_total": 0, "payment_status": "no_payment_required"}, 0, "usd"),
        ({"amount_total": 0, "payment_status": "paid"}, 0, "usd"),
        ({"amount_total": None}, None, "usd"),
        ({"amount_total": None, "currency": None}, None, None),
    ],
)
def test_an_order_has_the_amount_and_the_currency_that_stripe_told(
    world: MoneyWorld, session: dict[str, object], amount: int | None, currency: str | None
) -> None:
    made = world.session(**session)
    record(world.store, stripe_events.checkout_completed(made))

    order = world.order_of(made)
    assert order is not None
    assert (order["status"], order["amount"], order["currency"]) == ("paid", amount, currency)


def test_a_free_order_gets_its_songs(world: MoneyWorld) -> None:
    paid = world.buy(amount_total=0, payment_status="no_payment_required")

    order = world.order(paid)
    assert (order["status"], order["amount"], order["payment_intent"]) == ("completed", 0, None)
    assert world.provider.songs_made == 3


def test_an_amount_that_a_later_event_tells_is_taken(world: MoneyWorld) -> None:
    session = world.session(payment_intent="pi_late")
    unpaid = session | {"amount_total": None, "currency": None, "payment_intent": None}
    record(world.store, Told.UNPAID.event(unpaid))
    record(world.store, Told.SUCCEEDED.event(session))

    order = world.order_of(session)
    assert order is not None
    told = (order["amount"], order["currency"], order["payment_intent"])
    assert told == (799, "usd", "pi_late")


# Parts


def test_a_part_that_goes_back_is_noted_and_the_songs_are_made(world: MoneyWorld) -> None:
    paid = world.pay()
    world.deliver(charge_refunded(paid.session["payment_intent"], 799, 300))
    world.rest()

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("completed", 300)
    assert [run.status for run in world.runs()] == ["completed"]


def test_parts_that_come_out_of_order_leave_the_larger_sum(world: MoneyWorld) -> None:
    paid = world.buy()
    for given_back in (500, 300):
        world.deliver(charge_refunded(paid.session["payment_intent"], 799, given_back))

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("completed", 500)


def test_parts_that_come_to_all_of_it_end_the_order(world: MoneyWorld) -> None:
    paid = world.buy()
    for given_back in (300, 799):
        world.deliver(charge_refunded(paid.session["payment_intent"], 799, given_back))

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)


def test_a_part_told_before_the_order_is_in_the_order(world: MoneyWorld) -> None:
    session = world.session()
    for told in (Told.PART, Told.PAID):
        record(world.store, told.event(session))

    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount_refunded"]) == ("paid", 799 // 2)


def test_one_refund_of_the_whole_ends_the_order(world: MoneyWorld) -> None:
    paid = world.buy()
    world.deliver(refund_created(paid.session["payment_intent"], 799, "pending"))

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)


def test_one_refund_of_a_part_does_not(world: MoneyWorld) -> None:
    paid = world.buy()
    world.deliver(refund_created(paid.session["payment_intent"], 200))
    world.deliver(refund_updated(paid.session["payment_intent"], 200))

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("completed", 200)


def test_a_refund_that_failed_from_the_start_ends_nothing_and_is_warned_of(
    world: MoneyWorld,
) -> None:
    paid = world.buy()
    answer = world.deliver(refund_failed(paid.session["payment_intent"], 799))

    order = world.order(paid)
    assert answer.status == 200
    assert (order["status"], order["amount_refunded"]) == ("completed", None)
    assert "WARNING" in world.log
    assert f"order {paid.order_id}: a refund of payment" in world.log


def test_a_refund_that_is_canceled_ends_nothing(world: MoneyWorld) -> None:
    paid = world.buy()
    world.deliver(refund_updated(paid.session["payment_intent"], 799, "canceled"))

    assert world.order(paid)["status"] == "completed"


def test_a_refund_told_before_its_order_is_kept_and_applied(world: MoneyWorld) -> None:
    session = world.session()
    first = world.deliver(Told.REFUNDED.event(session))
    assert (first.status, world.shop.orders()) == (200, [])

    world.deliver(Told.PAID.event(session))
    world.rest()

    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)
    assert (world.runs(), world.provider.calls) == ([], [])


def test_a_refund_of_a_payment_that_is_nobody_s_here_changes_no_order(world: MoneyWorld) -> None:
    paid = world.buy()
    answer = world.deliver(charge_refunded("pi_of_another_shop", 799, 799))

    assert answer.status == 200
    assert world.order(paid)["status"] == "completed"


def test_a_failed_order_that_is_refunded_by_hand_needs_nobody_any_more(world: MoneyWorld) -> None:
    world.faults.add(always(bad_prompt(), lambda call: call.service == "music"))
    paid = world.buy()
    assert world.order(paid)["status"] == "failed"

    world.refund(paid)

    [open_ones, settled] = world.letters()
    assert (world.order(paid)["status"], open_ones) == ("refunded", [])
    assert [row["notes"] for row in settled] == ["Refunded."]


# A paid session that cannot become an order


def test_its_refund_settles_the_dead_letter(world: MoneyWorld) -> None:
    session = world.session(metadata={"userId": "nobody", "customizationId": "nothing"})
    for told in (Told.PAID, Told.REFUNDED):
        record(world.store, told.event(session))

    [open_ones, settled] = world.letters()
    assert (open_ones, [row["notes"] for row in settled]) == ([], ["Refunded."])


def test_a_refund_that_came_first_leaves_no_dead_letter(world: MoneyWorld) -> None:
    session = world.session(metadata={"userId": "nobody", "customizationId": "nothing"})
    for told in (Told.REFUNDED, Told.PAID):
        record(world.store, told.event(session))

    assert world.letters() == ([], [])


def test_a_part_that_went_back_leaves_it_open(world: MoneyWorld) -> None:
    session = world.session(metadata={"userId": "nobody", "customizationId": "nothing"})
    for told in (Told.PAID, Told.PART):
        record(world.store, told.event(session))

    [open_ones, settled] = world.letters()
    assert (len(open_ones), settled) == (1, [])
