"""What Stripe knows and nobody told us is taken in; once, and as if it had been told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from money_world import RECONCILE, MoneyWorld, record
from story import Told
from world import Json, on

from devstack.faults import Fault, always, times
from devstack.payments.charges import dispute, refund
from devstack.payments.errors import RATE_LIMITED
from devstack.stack import STRIPE_KEY
from songswipe.errors import HandoverError, PaymentsRefusedError, PaymentsUnavailableError
from songswipe.models import GenerationRequest
from songswipe.payments import Payments
from songswipe.reconcile import Outcome, Reconciliation

DAY = 24 * 3600
SINCE = timedelta(hours=72)


@dataclass
class NotingSender:
    """Takes what would go to Inngest, or cannot reach it."""

    away: bool = False
    requested: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def request_generation(self, request: GenerationRequest, timeout_seconds: float) -> None:
        self._check()
        self.requested.append(request.order_id)

    def cancel_generation(self, order_id: str, timeout_seconds: float) -> None:
        self._check()
        self.cancelled.append(order_id)

    def _check(self) -> None:
        if self.away:
            raise HandoverError


@pytest.fixture
def sender() -> NotingSender:
    return NotingSender()


Run = Callable[..., Outcome]


@pytest.fixture
def run(world: MoneyWorld, sender: NotingSender) -> Run:
    payments = Payments(STRIPE_KEY, world.stripe.url, pauses_seconds=(0.01, 0.01))
    reconciliation = Reconciliation(world.store, sender, payments, False)  # type: ignore[arg-type]

    def run(since: timedelta = SINCE, *, dry_run: bool = False) -> Outcome:
        return reconciliation.run(since, dry_run=dry_run)

    return run


def done(outcome: Outcome) -> list[tuple[str, str]]:
    return [(correction.what, correction.done) for correction in outcome.corrections]


def ago(seconds: float) -> int:
    return int(time.time() - seconds)


# Sessions


def test_a_paid_session_becomes_an_order_and_is_handed_over(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = world.in_stripe()
    outcome = run()

    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount"], order["currency"]) == ("paid", 799, "usd")
    assert order["payment_intent"] == session["payment_intent"]
    assert order["handed_over_at"] is not None
    assert sender.requested == [str(order["id"])]
    [correction] = outcome.corrections
    assert (outcome.seen, correction.stripe_id) == (1, session["id"])
    assert (correction.done, correction.order_id) == ("created", str(order["id"]))


def test_a_session_that_is_not_paid_yet_waits(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = world.in_stripe(payment_status="unpaid")

    assert done(run()) == [("session", "created")]
    assert (world.status_of(session), sender.requested) == ("pending", [])


def test_a_free_session_is_an_order(world: MoneyWorld, run: Run, sender: NotingSender) -> None:
    session = world.in_stripe(amount_total=0, payment_status="no_payment_required")
    run()

    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount"], len(sender.requested)) == ("paid", 0, 1)


def test_a_paid_session_that_cannot_become_an_order_is_a_dead_letter(
    world: MoneyWorld, run: Run
) -> None:
    session = world.in_stripe(metadata={"userId": "nobody", "customizationId": "nothing"})

    assert done(run()) == [("session", "dead_lettered")]
    [[letter], _] = world.letters()
    assert letter["stripe_session_id"] == session["id"]
    assert letter["event_data"]["data"]["object"] == session


@pytest.mark.parametrize(
    "session",
    [
        pytest.param({"metadata": {}}, id="of nobody here"),
        pytest.param({"livemode": True}, id="live"),
        pytest.param({"status": "expired", "payment_status": "unpaid"}, id="expired"),
        pytest.param({"status": "open", "payment_status": "unpaid"}, id="not finished"),
        pytest.param({"created": ago(4 * DAY)}, id="older than was asked for"),
    ],
)
def test_other_sessions_are_left_alone(
    world: MoneyWorld, run: Run, session: dict[str, object]
) -> None:
    world.in_stripe(**session)
    before = world.state()

    assert (run().corrections, world.state()) == ([], before)


def test_a_longer_time_reaches_further_back(world: MoneyWorld, run: Run) -> None:
    world.in_stripe(created=ago(4 * DAY))

    assert done(run(timedelta(days=7))) == [("session", "created")]


@pytest.mark.parametrize("told", [Told.UNPAID, Told.FAILED])
def test_a_payment_that_nobody_told_of_is_taken_in(
    world: MoneyWorld, run: Run, sender: NotingSender, told: Told
) -> None:
    session = world.in_stripe()
    for each in {Told.UNPAID, told}:
        record(world.store, each.event(session))

    assert done(run()) == [("session", "updated")]
    assert (world.status_of(session), len(sender.requested)) == ("paid", 1)


def test_a_payment_that_took_weeks_is_found_by_the_order_that_waits_for_it(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = world.in_stripe(created=ago(12 * DAY))
    record(world.store, Told.UNPAID.event(session))

    assert done(run()) == [("session", "updated")]
    assert (world.status_of(session), len(sender.requested)) == ("paid", 1)


def test_an_order_that_waits_for_what_stripe_does_not_know_goes_on_waiting(
    world: MoneyWorld, run: Run
) -> None:
    session = world.session()
    record(world.store, Told.UNPAID.event(session))

    assert done(run()) == []
    assert world.status_of(session) == "pending"


def test_what_was_told_is_not_taken_in_again(world: MoneyWorld, run: Run) -> None:
    for told, status in [(Told.PAID, "paid"), (Told.UNPAID, "unpaid")]:
        record(world.store, told.event(world.in_stripe(payment_status=status)))
    before = world.state()
    outcome = run()

    assert (outcome.seen, outcome.corrections, world.state()) == (2, [], before)


def test_the_order_of_a_customer_who_was_deleted_stays_deleted(world: MoneyWorld, run: Run) -> None:
    session = world.in_stripe()
    record(world.store, Told.PAID.event(session))
    world.shop.rows("delete from auth.users")

    assert done(run()) == []
    assert (world.shop.orders(), world.letters()) == ([], ([], []))


def test_an_unpaid_session_of_no_known_customer_is_looked_at_once(
    world: MoneyWorld, run: Run
) -> None:
    world.in_stripe(
        payment_status="unpaid", metadata={"userId": "nobody", "customizationId": "nothing"}
    )
    outcomes = [run(), run()]

    assert [done(outcome) for outcome in outcomes] == [[], []]
    assert world.faults.count("rest", "rpc/record_checkout") == 1
    assert world.letters() == ([], [])


def test_without_inngest_the_order_is_stored_and_left_to_the_sweep(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    sender.away = True
    session = world.in_stripe()

    assert done(run()) == [("session", "created")]
    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["handed_over_at"]) == ("paid", None)


# Refunds and disputes


def order_told(world: MoneyWorld) -> Json:
    session = world.in_stripe()
    record(world.store, Told.PAID.event(session))
    return session


def test_a_full_refund_ends_its_order_and_cancels_its_run(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = order_told(world)
    world.stripe.add_refund(refund(session["payment_intent"], 799))
    outcome = run()

    order = world.order_of(session)
    assert order is not None
    assert done(outcome) == [("refund", "updated")]
    assert outcome.corrections[0].order_id == str(order["id"])
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)
    assert sender.cancelled == [str(order["id"])]


def test_two_parts_that_are_all_together_end_their_order(world: MoneyWorld, run: Run) -> None:
    session = order_told(world)
    for amount in (300, 499):
        world.stripe.add_refund(refund(session["payment_intent"], amount))

    assert done(run()) == [("refund", "updated")]
    assert world.status_of(session) == "refunded"


def test_a_part_that_is_older_than_was_asked_for_counts_too(world: MoneyWorld, run: Run) -> None:
    session = order_told(world)
    record(world.store, Told.PART.event(session))
    world.stripe.add_refund(refund(session["payment_intent"], 399, created=ago(5 * DAY)))
    world.stripe.add_refund(refund(session["payment_intent"], 400))

    assert done(run()) == [("refund", "updated")]
    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount_refunded"]) == ("refunded", 799)


def test_a_part_is_noted_and_ends_nothing(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = order_told(world)
    world.stripe.add_refund(refund(session["payment_intent"], 300))

    assert done(run()) == [("refund", "recorded")]
    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount_refunded"]) == ("paid", 300)
    assert sender.cancelled == []


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_did_not_happen_is_none(world: MoneyWorld, run: Run, status: str) -> None:
    session = order_told(world)
    world.stripe.add_refund(refund(session["payment_intent"], 799, status))

    assert (done(run()), world.status_of(session)) == ([], "paid")


def test_a_dispute_ends_its_order(world: MoneyWorld, run: Run, sender: NotingSender) -> None:
    session = order_told(world)
    world.stripe.add_dispute(dispute(session["payment_intent"]))

    assert done(run()) == [("dispute", "updated")]
    assert (world.status_of(session), len(sender.cancelled)) == ("refunded", 1)


def test_refunds_and_disputes_of_others_are_not_kept(world: MoneyWorld, run: Run) -> None:
    session = order_told(world)
    world.stripe.add_refund(refund("pi_of_another_shop", 799))
    world.stripe.add_dispute(dispute("pi_of_another_shop"))
    before = world.state()
    outcome = run()

    assert (outcome.seen, done(outcome), world.state()) == (3, [], before)
    assert world.status_of(session) == "paid"


def test_a_refund_of_a_failed_order_settles_its_dead_letter(world: MoneyWorld, run: Run) -> None:
    session = order_told(world)
    order = world.order_of(session)
    assert order is not None
    world.store.record_failure(
        order_id=str(order["id"]), run_id="run-1", event_data={}, message="x", stack=None, retries=4
    )
    world.stripe.add_refund(refund(session["payment_intent"], 799))
    run()

    open_ones, settled = world.letters()
    assert (world.status_of(session), open_ones, len(settled)) == ("refunded", [], 1)


@pytest.mark.parametrize("ending", ["refund", "parts", "dispute"])
def test_a_payment_that_came_and_went_unheard_buys_nothing(
    world: MoneyWorld, run: Run, sender: NotingSender, ending: str
) -> None:
    session = world.in_stripe()
    match ending:
        case "refund":
            world.stripe.add_refund(refund(session["payment_intent"], 799))
        case "parts":
            world.stripe.add_refund(refund(session["payment_intent"], 399))
            world.stripe.add_refund(refund(session["payment_intent"], 400))
        case "dispute":
            world.stripe.add_dispute(dispute(session["payment_intent"]))
    first, second = run(), run()

    assert sorted(what for what, _ in done(first)) == sorted(
        ["session", "dispute" if ending == "dispute" else "refund"]
    )
    assert done(second) == []
    assert (world.status_of(session), sender.requested) == ("refunded", [])


def test_a_part_of_a_payment_unheard_of_is_in_the_order(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    session = world.in_stripe()
    world.stripe.add_refund(refund(session["payment_intent"], 300))
    run()

    order = world.order_of(session)
    assert order is not None
    assert (order["status"], order["amount_refunded"]) == ("paid", 300)
    assert len(sender.requested) == 1


# The whole of it


def much_untold(world: MoneyWorld) -> None:
    """Five corrections' worth of everything."""
    world.in_stripe()
    world.in_stripe(payment_status="unpaid")
    world.in_stripe(metadata={"userId": "nobody", "customizationId": "nothing"})
    world.stripe.add_refund(refund(order_told(world)["payment_intent"], 799))
    world.stripe.add_dispute(dispute(order_told(world)["payment_intent"]))


def test_a_second_run_takes_in_nothing(world: MoneyWorld, run: Run) -> None:
    much_untold(world)
    first = run()
    before = world.state()
    second = run()

    assert (len(first.corrections), second.corrections) == (5, [])
    assert (first.seen, second.seen, world.state()) == (7, 7, before)


def test_a_dry_run_says_the_same_and_writes_nothing(
    world: MoneyWorld, run: Run, sender: NotingSender
) -> None:
    much_untold(world)
    before = world.state()
    dry = run(dry_run=True)
    assert (world.state(), sender.requested, sender.cancelled) == (before, [], [])
    wet = run()

    assert [(c.what, c.stripe_id) for c in dry.corrections] == [
        (c.what, c.stripe_id) for c in wet.corrections
    ]
    assert {correction.done for correction in dry.corrections} == {"found"}


def test_every_page_is_read(world: MoneyWorld, run: Run) -> None:
    world.stripe.page_limit = 2
    sessions = [world.in_stripe(created=ago(60 + number // 2)) for number in range(7)]
    outcome = run()

    assert {correction.stripe_id for correction in outcome.corrections} == {
        session["id"] for session in sessions
    }
    assert (outcome.seen, len(world.shop.orders())) == (7, 7)
    assert world.faults.count("stripe", "checkout/sessions") == 4


def test_more_sessions_than_fit_into_one_question_are_looked_up(
    world: MoneyWorld, run: Run
) -> None:
    customers = world.shop.add_customers(120)
    sessions = [world.in_stripe(customer) for customer in customers]
    for session in sessions[::2]:
        record(world.store, Told.PAID.event(session))
    outcome = run()

    assert (outcome.seen, len(outcome.corrections)) == (120, 60)
    assert len(world.shop.orders()) == 120


def test_a_rate_limit_is_waited_out(world: MoneyWorld, run: Run) -> None:
    world.in_stripe()
    world.faults.add(times(2, RATE_LIMITED, on("stripe", "checkout/sessions")))

    assert done(run()) == [("session", "created")]
    assert world.faults.count("stripe", "checkout/sessions") == 3


def test_a_rate_limit_that_lasts_is_said(world: MoneyWorld, run: Run) -> None:
    world.faults.add(always(RATE_LIMITED, on("stripe")))

    with pytest.raises(PaymentsUnavailableError, match="Stripe limits our rate"):
        run()


def test_a_failure_half_way_keeps_what_was_taken_in(world: MoneyWorld, run: Run) -> None:
    for _ in range(3):
        world.in_stripe()
    taken = 0

    def third(call: object) -> bool:
        nonlocal taken
        taken += on("rest", "rpc/record_checkout")(call)  # type: ignore[arg-type]
        return taken == 3

    world.faults.add(times(1, Fault(status=503), third))
    with pytest.raises(Exception, match="store_unavailable"):
        run()
    assert len(world.shop.orders()) == 2
    assert len(run().corrections) == 1


@pytest.mark.parametrize(
    ("permissions", "advice"),
    [
        ({"rak_charge_read"}, ["Charges and Refunds: read"]),
        ({"rak_dispute_read"}, ["Disputes: read"]),
        ({"rak_charge_read", "rak_dispute_read"}, ["Charges and Refunds: read", "Disputes: read"]),
    ],
)
def test_a_restricted_key_still_does_for_what_it_may_see(
    world: MoneyWorld, run: Run, permissions: set[str], advice: list[str]
) -> None:
    world.in_stripe()
    world.stripe.restricted |= permissions
    outcome = run()

    assert done(outcome) == [("session", "created")]
    assert outcome.skipped == [
        f"STRIPE_SECRET_KEY lacks a permission: give it {each}" for each in advice
    ]


def test_a_key_that_may_not_see_sessions_is_refused(world: MoneyWorld, run: Run) -> None:
    world.stripe.restricted.add("rak_checkout_session_read")

    with pytest.raises(PaymentsRefusedError, match="Checkout Sessions: read"):
        run()


# The cron function


def test_the_cron_function_runs_daily_or_when_the_setting_says(
    world: MoneyWorld, refunding_world: MoneyWorld
) -> None:
    times = [
        [trigger.expression for trigger in each.engine.functions[RECONCILE].cron_triggers]
        for each in (world, refunding_world)
    ]

    assert times == [["17 4 * * *"], ["3 */6 * * *"]]


def test_the_cron_function_takes_in_what_was_lost_and_its_songs_are_made(
    world: MoneyWorld,
) -> None:
    session = world.in_stripe()
    refunded = world.buy_in_stripe()
    world.stripe.add_refund(refund(refunded.session["payment_intent"], 799))
    said = world.cron(RECONCILE)

    order = world.order_of(session)
    assert order is not None
    assert order["status"] == "completed"
    assert world.order(refunded)["status"] == "refunded"
    assert world.provider.songs_made == 6
    assert (said["seen"], said["corrected"]) == (3, {"session": 1, "refund": 1})
    assert {each["stripeId"] for each in said["corrections"]} == {
        session["id"],
        refunded.session["payment_intent"],
    }
    assert world.cron(RECONCILE)["corrected"] == {}


def test_the_cron_function_tries_again_when_stripe_is_away(world: MoneyWorld) -> None:
    session = world.in_stripe()
    away = Fault(status=503, headers={"Stripe-Should-Retry": "false"})
    world.faults.add(times(1, away, on("stripe", "checkout/sessions")))
    world.cron(RECONCILE)

    assert world.status_of(session) == "completed"


def test_a_key_without_permission_fails_the_cron_run_with_what_to_give_it(
    world: MoneyWorld,
) -> None:
    world.stripe.restricted.add("rak_checkout_session_read")
    run_id = world.stack.loop.call(lambda: world.engine.fire_cron(RECONCILE))
    world.rest()

    run = world.engine.runs[run_id]
    assert run.status == "failed"
    assert "Checkout Sessions: read" in str(run.error)
