"""Claims, through the service's own store: one worker at a time, and a dead one is succeeded."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from recovery_world import RecoveryWorld, request_of, terms
from world import Json, Paid

from devstack.music.composer import compose
from devstack.payments import events as stripe_events
from devstack.project.keys import SECRET_KEY
from songswipe.checkout import CheckoutChange, PaymentChange, StripeEvent, decide, parse_event
from songswipe.models import GenerationRequest, PurchaseResult
from songswipe.store import BUCKET, Store, connect

LEASE_SECONDS = 0.4
AUDIO = compose("kept", seconds=0.3)


@pytest.fixture(scope="module")
def store(session_world: RecoveryWorld) -> Iterator[Store]:
    """The service's own door to the database, through supabase-py and PostgREST."""
    client = connect(session_world.stack.gateway.url, SECRET_KEY, 10.0)
    yield Store(client)
    client.postgrest.session.close()


@pytest.fixture
def paid(world: RecoveryWorld, store: Store) -> Paid:
    """An order that is being generated: three variants, nobody at work."""
    paid = world.stored_order()
    store.begin_generation(request_of(paid))
    store.insert_variants(request_of(paid))
    return paid


@pytest.fixture
def request_(paid: Paid) -> GenerationRequest:
    return request_of(paid)


Order = GenerationRequest


def test_a_claim_keeps_the_second_worker_out_and_says_for_how_long(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    assert store.claim_variant(request_, 1, terms(lease_seconds=60)).decision == "buy"
    second = store.claim_variant(request_, 1, terms(run_id="run-2"))

    assert (second.decision, second.reason) == ("busy", "claimed")
    assert second.retry_after_seconds is not None
    assert 50 < second.retry_after_seconds <= 60
    assert world.outcomes(paid) == ["None"]


def test_a_claim_is_for_one_variant(store: Store, request_: Order) -> None:
    decisions = [store.claim_variant(request_, number, terms()).decision for number in (1, 2, 3)]

    assert decisions == ["buy"] * 3


def test_a_worker_that_vanished_is_succeeded_when_its_lease_ends(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    """Its purchase is closed as unknown, because nobody can say whether a song was made."""
    began = time.monotonic()
    store.claim_variant(request_, 1, terms(lease_seconds=LEASE_SECONDS))
    claims = []
    while not claims or claims[-1].decision == "busy":
        claims.append(store.claim_variant(request_, 1, terms(run_id="run-2")))
        assert time.monotonic() - began < LEASE_SECONDS + 2

    assert time.monotonic() - began >= LEASE_SECONDS
    assert len(claims) > 1
    assert claims[-1].decision == "buy"
    first, second = world.shop.purchases(paid.order_id)
    assert (first["outcome"], first["reason"], first["run_id"]) == (
        "unknown",
        "interrupted",
        "run-1",
    )
    assert (second["outcome"], second["number"], second["run_id"]) == (None, 2, "run-2")


def test_two_workers_that_vanished_are_the_end_of_the_variant(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    for _ in range(2):
        assert store.claim_variant(request_, 1, terms()).decision == "buy"
        world.let_pass(61)
    third = store.claim_variant(request_, 1, terms())

    assert (third.decision, third.reason) == ("failed", "outcome_unknown")
    assert world.outcomes(paid) == ["unknown"] * 2
    assert world.reasons(paid) == ["outcome_unknown", None, None]


def test_giving_up_on_a_variant_closes_what_a_vanished_worker_left_open(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    """Found by the fault kit: the run had failed, a sibling was complete, and the purchase of the
    variant that was given up stayed open for ever."""
    delivered = terms()
    store.claim_variant(request_, 1, delivered)
    store.finish_variant(request_, 1, delivered.token, duration_ms=300, size_bytes=1)
    store.claim_variant(request_, 2, terms())
    world.let_pass(61)
    status = store.record_failure(
        order_id=paid.order_id,
        run_id="run-1",
        event_data=request_.event_data(),
        message="store_unavailable (after 4 retries)",
        stack=None,
        retries=4,
    )

    assert status == "completed"
    assert world.states(paid) == ["complete", "failed", "failed"]
    assert world.outcomes(paid) == ["delivered", "unknown"]
    assert world.shop.dead_letters() == []


def test_a_worker_that_was_succeeded_can_still_deliver(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    """It was only slow. Its song is sold, and the one its successor bought is what is in doubt."""
    slow, quick = terms(), terms()
    store.claim_variant(request_, 1, slow)
    world.let_pass(61)
    store.claim_variant(request_, 1, quick)
    store.finish_variant(request_, 1, slow.token, duration_ms=300, size_bytes=1)

    assert world.states(paid)[0] == "complete"
    first, second = world.shop.purchases(paid.order_id)
    assert (first["outcome"], second["outcome"]) == ("delivered", "unknown")
    assert store.finish_variant(request_, 1, quick.token, duration_ms=9, size_bytes=9)
    assert world.shop.variants(paid.order_id)[0]["duration_ms"] == 300
    assert world.outcomes(paid) == ["delivered", "unknown"]


def test_one_that_was_succeeded_cannot_give_its_successor_s_claim_back(
    world: RecoveryWorld, store: Store, request_: Order
) -> None:
    slow = terms()
    store.claim_variant(request_, 1, slow)
    world.let_pass(61)
    store.claim_variant(request_, 1, terms())
    store.release_claim(request_, 1, slow.token)
    store.close_purchase(request_, 1, slow.token, REFUSED)

    assert store.claim_variant(request_, 1, terms()).decision == "busy"


def test_audio_in_storage_is_adopted_unless_it_cannot_be_played(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    """The holder of the claim decides, and only then is a song bought."""
    world.put_object(paid, 1, b"<html>")
    mine = terms()

    assert store.claim_variant(request_, 1, mine).decision == "adopt"
    assert world.outcomes(paid) == []
    other = store.claim_variant(request_, 1, terms(), ignore_audio=True)
    assert other.decision == "busy"
    assert store.claim_variant(request_, 1, mine, ignore_audio=True).decision == "buy"
    assert world.outcomes(paid) == ["None"]


def test_a_song_kept_in_the_database_comes_before_everything_else(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    first = terms()
    store.claim_variant(request_, 1, first)
    store.keep_audio(request_, 1, first.token, AUDIO, duration_ms=300, provider_song_id="s1")
    world.put_object(paid, 1, b"<html>")

    assert store.claim_variant(request_, 1, terms()).decision == "kept"
    assert store.find_kept_audio(request_, 1) == AUDIO
    assert world.outcomes(paid) == ["delivered"]


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """The results of calls made at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def made(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(made, calls))


def test_of_twenty_claims_at_once_one_buys(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    calls = [
        lambda run=run: store.claim_variant(request_, 1, terms(run_id=f"run-{run}")).decision
        for run in range(20)
    ]
    decisions = together(calls)

    assert sorted(decisions) == ["busy"] * 19 + ["buy"]
    assert world.outcomes(paid) == ["None"]


def test_of_twenty_claims_on_what_a_dead_worker_left_one_buys(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    store.claim_variant(request_, 1, terms())
    world.let_pass(61)
    decisions = together(
        [lambda: store.claim_variant(request_, 1, terms()).decision for _ in range(20)]
    )

    assert sorted(decisions) == ["busy"] * 19 + ["buy"]
    assert world.outcomes(paid) == ["None", "unknown"]


def test_one_worker_that_asks_twenty_times_at_once_has_one_purchase(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    """Its calls were repeated because their answers were lost."""
    mine = terms()
    decisions = together(
        [lambda: store.claim_variant(request_, 1, mine).decision for _ in range(20)]
    )

    assert set(decisions) == {"buy"}
    assert len(world.shop.purchases(paid.order_id)) == 1


# Refunds


def refund_of(paid: Paid) -> tuple[StripeEvent, PaymentChange]:
    session = paid.session
    amount = session["amount_total"]
    event = parse_event(stripe_events.charge_refunded(session["payment_intent"], amount, amount))
    change = decide(event, livemode=False)
    assert isinstance(change, PaymentChange)
    return event, change


def test_no_claim_is_granted_after_a_refund(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid
) -> None:
    assert store.record_refund(*refund_of(paid)).status == "refunded"
    claim = store.claim_variant(request_, 1, terms())

    assert (claim.decision, claim.reason) == ("stopped", "refunded")
    assert world.shop.purchases(paid.order_id) == []


class Transaction:
    """A client of PostgREST's, stopped between its call and its commit."""

    def __init__(self, world: RecoveryWorld) -> None:
        self.connection = psycopg.connect(world.stack.postgres.dsn)

    def refund(self, order_id: str) -> None:
        """What record_refund does to the order's row."""
        self.connection.execute(
            "update public.orders set status = 'refunded' where id = %s", (order_id,)
        )

    def claim(self, request: Order) -> str:
        row = self.connection.execute(
            "select decision from public.claim_variant(%s, 1, %s, 'run-1', 0, 60, 'h', 'm', 1, %s)",
            (request.order_id, str(uuid.uuid4()), BUCKET),
        ).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture
def transaction(world: RecoveryWorld) -> Iterator[Transaction]:
    transaction = Transaction(world)
    with transaction.connection:
        yield transaction


def waiting_for_a_lock(world: RecoveryWorld) -> bool:
    query = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
    return bool(world.shop.rows(query))


def test_a_claim_waits_for_a_refund_that_is_being_recorded(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid, transaction: Transaction
) -> None:
    """And then it is not granted, although the refund had not been there when it began."""
    with ThreadPoolExecutor(1) as pool:
        transaction.refund(paid.order_id)
        claim = pool.submit(store.claim_variant, request_, 1, terms())
        world.eventually(lambda: waiting_for_a_lock(world), "the claim waits")
        transaction.connection.commit()

        assert claim.result(10).decision == "stopped"
    assert world.shop.purchases(paid.order_id) == []


def test_a_refund_waits_for_a_claim_that_is_being_granted(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid, transaction: Transaction
) -> None:
    """So a purchase is in the ledger before the refund is, or not at all."""
    with ThreadPoolExecutor(1) as pool:
        assert transaction.claim(request_) == "buy"
        refund = pool.submit(store.record_refund, *refund_of(paid))
        world.eventually(lambda: waiting_for_a_lock(world), "the refund waits")
        assert world.shop.purchases(paid.order_id) == []
        transaction.connection.commit()

        assert refund.result(10).status == "refunded"
    [purchase] = world.shop.purchases(paid.order_id)
    [recorded] = world.shop.rows("select * from public.stripe_events where ends_payment")
    assert purchase["opened_at"] < recorded["received_at"]


def test_claims_and_a_refund_that_race_never_buy_after_it(
    world: RecoveryWorld, store: Store, paid: Paid
) -> None:
    """Fifteen orders, three claims each and the refund, all four at the same moment."""
    decided = set()
    for customer in world.shop.add_customers(15):
        raced = world.stored_order(customer)
        request = request_of(raced)
        store.begin_generation(request)
        store.insert_variants(request)
        refund = refund_of(raced)
        calls: list[Callable[[], Any]] = [
            lambda number=number, request=request: (
                store.claim_variant(request, number, terms()).decision
            )
            for number in (1, 2, 3)
        ]
        results = together([*calls, lambda refund=refund: store.record_refund(*refund).status])
        after = store.claim_variant(request, 1, terms()).decision

        assert results[3] == "refunded"
        assert after == "stopped"
        bought = [row["variant_number"] for row in world.shop.purchases(raced.order_id)]
        assert bought == [n for n, decision in enumerate(results[:3], 1) if decision == "buy"]
        decided.update(results[:3])
    late = world.shop.rows(
        "select p.* from public.purchases p join public.orders o on o.id = p.order_id"
        " join public.stripe_events e on e.payment_intent = o.payment_intent and e.ends_payment"
        " where p.opened_at > e.received_at"
    )

    assert late == []
    assert decided == {"buy", "stopped"}


# Every transition may be repeated, because its answer can be lost

REFUSED = PurchaseResult(
    outcome="refused",
    reason="http_503",
    http_status=503,
    operators_business=False,
    fail=False,
)


def prepare_claim(store: Store, order: Order) -> str:
    mine = terms()
    store.claim_variant(order, 1, mine)
    return mine.token


def repeat_begin(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    return lambda: store.begin_generation(order)


def repeat_variants(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    return lambda: store.insert_variants(order)


def repeat_handover(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    return lambda: store.mark_handed_over(order.order_id)


def repeat_claim(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    mine = terms()
    return lambda: store.claim_variant(order, 1, mine)


def repeat_finish(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    token = prepare_claim(store, order)
    return lambda: store.finish_variant(order, 1, token, duration_ms=300, size_bytes=7)


def repeat_close(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    token = prepare_claim(store, order)
    return lambda: store.close_purchase(order, 1, token, REFUSED)


def repeat_close_for_good(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    token = prepare_claim(store, order)
    return lambda: store.close_purchase(order, 1, token, replace(REFUSED, fail=True))


def repeat_keep(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    token = prepare_claim(store, order)
    return lambda: store.keep_audio(order, 1, token, AUDIO, duration_ms=300, provider_song_id="s1")


def repeat_release(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    token = prepare_claim(store, order)
    return lambda: store.release_claim(order, 1, token)


def repeat_finalize(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    for number in (1, 2, 3):
        mine = terms()
        store.claim_variant(order, number, mine)
        store.finish_variant(order, number, mine.token, duration_ms=300, size_bytes=7)
    return lambda: store.finalize_order(order.order_id)


def repeat_failure(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    return lambda: store.record_failure(
        order_id=order.order_id,
        run_id="run-1",
        event_data=order.event_data(),
        message="no song",
        stack=None,
        retries=4,
    )


def repeat_settle(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    repeat_failure(store, order, paid)()
    store.mark_unplayable(order.order_id, 1)
    return lambda: store.settle_order(order.order_id)


def repeat_refund(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    prepare_claim(store, order)
    return lambda: store.record_refund(*refund_of_same_id(paid))


def refund_of_same_id(paid: Paid) -> tuple[StripeEvent, PaymentChange]:
    event, change = refund_of(paid)
    return replace(event, id="evt_refund", created=event.created.replace(second=0)), change


def repeat_checkout(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    event = parse_event(paid.event)
    return lambda: store.record_checkout(event, checkout_change(event))


def repeat_impossible_checkout(store: Store, order: Order, paid: Paid) -> Callable[[], Any]:
    raw: Json = stripe_events.checkout_completed(
        stripe_events.checkout_session(
            user_id=str(uuid.uuid4()), customization_id=str(uuid.uuid4())
        )
    )
    event = parse_event(raw)
    return lambda: store.record_checkout(event, checkout_change(event))


def checkout_change(event: StripeEvent) -> CheckoutChange:
    change = decide(event, livemode=False)
    assert isinstance(change, CheckoutChange)
    return change


TRANSITIONS = {
    name.removeprefix("repeat_"): function
    for name, function in list(globals().items())
    if name.startswith("repeat_")
}


@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_repeated_transition_changes_nothing_more(
    world: RecoveryWorld, store: Store, request_: Order, paid: Paid, name: str
) -> None:
    call = TRANSITIONS[name](store, request_, paid)
    call()
    before = world.state()
    call()

    assert world.state() == before


@pytest.mark.parametrize(
    "name",
    ["begin", "claim", "finish", "close", "close_for_good", "failure", "settle"],
)
def test_a_repeated_transition_gives_the_same_answer(
    store: Store, request_: Order, paid: Paid, name: str
) -> None:
    call = TRANSITIONS[name](store, request_, paid)

    assert call() == call()


def test_a_run_that_asks_again_how_a_completed_order_ended_is_told_so(
    store: Store, request_: Order, paid: Paid
) -> None:
    call = repeat_finalize(store, request_, paid)

    assert [call(), call()] == ["completed", "completed"]
    assert store.begin_generation(request_) == "done"
