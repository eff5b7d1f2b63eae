"""AUTO_REFUND: an order that failed without a song is paid back, once, whatever happens then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from money_world import SWEEP, MoneyWorld
from world import Paid, on

from devstack.faults import Call, Fault, always, times
from devstack.music.faults import INVALID_KEY, QUOTA_EXCEEDED, bad_prompt
from devstack.payments import events as stripe_events
from devstack.payments.charges import dispute

STRIPE_AWAY = Fault(status=503, headers={"Stripe-Should-Retry": "false"}, body=b"{}")


def refuse_every_song(world: MoneyWorld, fault: Fault | None = None) -> None:
    world.faults.add(always(fault or bad_prompt(), on("music")))


def fail(world: MoneyWorld, fault: Fault | None = None, **session: object) -> Paid:
    """An order whose every song was refused, and whatever followed."""
    refuse_every_song(world, fault)
    paid = world.buy_in_stripe(**session)
    world.faults.clear()
    return paid


def fail_while(world: MoneyWorld, broken: Fault, matches: Callable[[Call], bool]) -> Paid:
    """The same, while something else is broken."""
    world.faults.add(always(broken, matches))
    return fail(world)


def assert_paid_back_once(world: MoneyWorld, paid: Paid) -> None:
    order = world.order(paid)
    [refund] = world.stripe.refunds.values()
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)
    assert (refund["payment_intent"], refund["amount"]) == (order["payment_intent"], 799)
    open_ones, settled = world.letters()
    assert (open_ones, len(settled)) == ([], 1)


def assert_not_paid_back(world: MoneyWorld, paid: Paid, status: str = "failed") -> None:
    assert (world.order(paid)["status"], world.stripe.refunds) == (status, {})
    assert len(world.letters()[0]) == (1 if status == "failed" else 0)


def test_an_order_without_a_song_is_paid_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    paid = world.buy_in_stripe()

    assert_paid_back_once(world, paid)
    [refund] = world.stripe.refunds.values()
    assert refund["metadata"] == {"orderId": paid.order_id}
    assert world.order(paid)["refund_id"] == refund["id"]
    assert [row["notes"] for row in world.letters()[1]] == ["Refunded automatically."]
    [call] = [c for c in world.faults.calls if c.service == "stripe"]
    assert call.headers["Idempotency-Key"] == f"songswipe-refund-{paid.order_id}"


def test_what_stripe_tells_of_it_afterwards_changes_nothing(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail(world)
    before = world.order(paid)
    for event in world.stripe.events:
        assert world.deliver(event).status == 200
    world.rest()
    world.cron(SWEEP)

    assert world.order(paid) == before
    assert_paid_back_once(world, paid)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(INVALID_KEY, id="401"),
        pytest.param(QUOTA_EXCEEDED, id="quota"),
        pytest.param(Fault(status=402, body=b"{}"), id="402"),
        pytest.param(Fault(status=403, body=b"{}"), id="403"),
    ],
)
def test_what_the_operator_has_to_mend_is_not_paid_back(
    refunding_world: MoneyWorld, fault: Fault
) -> None:
    world = refunding_world
    paid = fail(world, fault)
    swept = world.cron(SWEEP)

    assert_not_paid_back(world, paid)
    assert swept["found"] == {}
    assert world.faults.count("stripe") == 0


def test_it_is_off_by_default(world: MoneyWorld) -> None:
    paid = fail(world)
    world.cron(SWEEP)

    assert_not_paid_back(world, paid)
    assert world.faults.count("stripe") == 0


def test_an_order_with_a_song_is_not_paid_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    world.faults.add(times(2, bad_prompt(), on("music")))
    paid = world.buy_in_stripe()
    world.cron(SWEEP)

    assert_not_paid_back(world, paid, "completed")


def test_a_free_order_has_nothing_to_pay_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail(world, amount_total=0, payment_status="no_payment_required")
    world.cron(SWEEP)

    assert_not_paid_back(world, paid)


# Stripe does not do it


def test_while_stripe_is_away_the_sweep_tries_again(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    assert_not_paid_back(world, paid)
    world.faults.add(always(STRIPE_AWAY, on("stripe")))
    [left] = world.cron(SWEEP)["done"]
    world.faults.clear()
    [done] = world.cron(SWEEP)["done"]

    assert left["done"].startswith("left: Stripe did not answer")
    assert (done["finding"], done["done"]) == ("refund_due", "order_refunded")
    assert world.cron(SWEEP)["found"] == {}
    assert_paid_back_once(world, paid)


def test_an_answer_of_stripe_s_that_is_lost_is_asked_for_again(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    world.faults.add(times(1, Fault(cut="after"), on("stripe")))
    paid = world.buy_in_stripe()

    assert_paid_back_once(world, paid)
    assert world.faults.count("stripe", "refunds") == 2


def test_a_key_that_may_not_pay_back_leaves_it_to_a_person(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    world.stripe.restricted.add("rak_charge_write")
    paid = fail(world)

    assert_not_paid_back(world, paid)
    assert "give it Charges and Refunds: write" in world.log
    world.stripe.restricted.clear()
    world.cron(SWEEP)
    assert_paid_back_once(world, paid)


def test_what_a_person_has_paid_back_counts_as_done(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    world.faults.add(always(STRIPE_AWAY, on("stripe")))
    paid = world.buy_in_stripe()
    world.stripe.books.create_refund({"payment_intent": paid.session["payment_intent"]})
    world.faults.clear()
    world.cron(SWEEP)

    assert_paid_back_once(world, paid)
    assert world.order(paid)["refund_id"] == "already_refunded"


def test_what_the_bank_has_taken_back_counts_as_done(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    world.stripe.add_dispute(dispute(paid.session["payment_intent"]))
    world.cron(SWEEP)

    order = world.order(paid)
    assert (order["status"], order["refund_id"]) == ("refunded", "disputed")
    assert world.stripe.refunds == {}


# A crash between any two steps


def test_a_crash_before_stripe_is_asked_still_pays_back_once(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    asked = world.hold(on("stripe"))
    paid = world.pay_in_stripe()
    world.crash(asked)
    assert_not_paid_back(world, paid)
    assert world.order(paid)["refund_requested_at"] is not None
    world.cron(SWEEP)

    assert_paid_back_once(world, paid)


def test_a_crash_after_stripe_has_done_it_still_pays_back_once(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    done = world.hold(on("rest", "rpc/mark_refunded"))
    paid = world.pay_in_stripe()
    world.crash(done)
    assert (world.order(paid)["status"], len(world.stripe.refunds)) == ("failed", 1)
    world.cron(SWEEP)

    assert_paid_back_once(world, paid)
    assert world.order(paid)["refund_id"] in world.stripe.refunds


def test_after_such_a_crash_stripe_s_own_word_is_enough(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    refuse_every_song(world)
    done = world.hold(on("rest", "rpc/mark_refunded"))
    paid = world.pay_in_stripe()
    world.crash(done)
    for event in world.stripe.events:
        world.deliver(event)

    assert_paid_back_once(world, paid)
    assert world.cron(SWEEP)["found"] == {}


def test_a_handler_that_never_ran_is_made_up_for(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, Fault(status=503), on("rest", "rpc/request_refund"))
    assert_not_paid_back(world, paid)
    world.cron(SWEEP)

    assert_paid_back_once(world, paid)


def test_an_order_that_the_sweep_gave_up_is_paid_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = world.pay_in_stripe(payment_status="unpaid")
    world.stripe.add_session(paid.session | {"payment_status": "paid"})
    world.shop.rows(
        "update public.orders set status = 'generating', redrives = 1, created_at = %s,"
        " handed_over_at = %s, generation_started_at = %s, redriven_at = %s",
        *["2026-01-01"] * 4,
    )
    [given_up] = world.cron(SWEEP)["done"]
    world.cron(SWEEP)

    assert (given_up["finding"], given_up["done"]) == ("given_up", "order_failed")
    assert_paid_back_once(world, paid)


# Replays


def test_a_replay_after_the_decision_buys_nothing(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    bought = len(world.shop.purchases(paid.order_id))
    world.run_again()
    world.rest()

    assert [run.status for run in world.runs()] == ["failed", "completed"]
    assert world.runs()[1].output["status"] == "refunded"
    assert (len(world.shop.purchases(paid.order_id)), world.provider.songs_made) == (bought, 0)
    world.cron(SWEEP)
    assert_paid_back_once(world, paid)


def test_an_order_whose_replay_succeeded_is_never_paid_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, Fault(status=503), on("rest", "rpc/request_refund"))
    world.run_again()
    world.rest()
    world.cron(SWEEP)

    assert_not_paid_back(world, paid, "completed")
    assert world.provider.songs_made == 3
    assert world.store.request_refund(paid.order_id) is None


def test_what_the_operator_has_mended_is_not_paid_back(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail(world, INVALID_KEY)
    world.run_again()
    world.rest()
    world.cron(SWEEP)

    assert_not_paid_back(world, paid, "completed")


def test_a_replay_that_fails_otherwise_is_paid_back(refunding_world: MoneyWorld) -> None:
    """The last run decides whose business it is."""
    world = refunding_world
    paid = fail(world, INVALID_KEY)
    refuse_every_song(world)
    world.run_again()
    world.rest()

    assert_paid_back_once(world, paid)


def test_a_decision_is_made_once_however_many_ask(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    asked = [world.store.request_refund(paid.order_id) for _ in range(3)]
    marked = [world.store.mark_refunded(paid.order_id, "re_1") for _ in range(2)]

    assert asked == [paid.session["payment_intent"]] * 3
    assert marked == ["refunded"] * 2
    assert world.store.request_refund(paid.order_id) is None


# The operator's hand


def test_a_dead_letter_closed_by_hand_is_dealt_with(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, Fault(status=503), on("rest", "rpc/request_refund"))
    world.shop.rows("update public.failed_jobs set resolved_at = now(), notes = 'Sent a gift.'")
    world.cron(SWEEP)

    assert (world.order(paid)["status"], world.stripe.refunds) == ("failed", {})


def test_switched_off_with_one_begun_it_says_so(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    printed = world.command("sweep", AUTO_REFUND="false")

    assert printed.status == 0
    assert "left: AUTO_REFUND is off, and a refund was begun" in printed.lines[0]
    assert_not_paid_back(world, paid)


def test_a_song_that_turns_up_after_the_refund_stays_the_customer_s(
    refunding_world: MoneyWorld,
) -> None:
    """Decided, a song found in Storage by the sweep, and then Stripe's answer: paid back is paid
    back."""
    world = refunding_world
    paid = fail_while(world, STRIPE_AWAY, on("stripe"))
    world.shop.rows("update public.orders set status = 'completed'")
    world.store.mark_refunded(paid.order_id, "re_1")

    order = world.order(paid)
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)


def test_a_refund_by_hand_after_a_failure_is_taken_as_such(refunding_world: MoneyWorld) -> None:
    world = refunding_world
    paid = fail(world, INVALID_KEY)
    session = paid.session
    world.deliver(stripe_events.charge_refunded(session["payment_intent"], 799, 799))
    world.run_again()
    world.rest()

    assert world.order(paid)["status"] == "refunded"
    assert (world.provider.songs_made, world.letters()[0]) == (0, [])
