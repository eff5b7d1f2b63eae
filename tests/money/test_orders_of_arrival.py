"""Stripe keeps no order: whatever arrives first, and how often, the order ends the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from money_world import MoneyWorld, purchases_allowed, record
from story import SESSION_AND_END, Told, amount_given_back, end_state

from devstack.payments.objects import Json
from devstack.shop import Customer

Order = tuple[str | None, int]
"""An order's state, and how many songs a run that begins now would buy."""


def expected(told: Iterable[Told]) -> Order:
    state = end_state(told)
    return state, 3 if state == "paid" else 0


def play(world: MoneyWorld, session: Json, events: Sequence[Json]) -> Order:
    for event in events:
        record(world.store, event)
    order = world.order_of(session)
    if order is None:
        return None, 0
    return str(order["status"]), purchases_allowed(world.store, order)


def play_all(
    world: MoneyWorld, sequences: Sequence[tuple[Told, ...]]
) -> dict[tuple[Told, ...], Order]:
    """Each sequence with a session of its own, and every event of it delivered twice."""

    def play_one(told: tuple[Told, ...], customer: Customer) -> Order:
        session = world.session(customer)
        events = [each.event(session) for each in told]
        return play(world, session, [event for event in events for _ in range(2)])

    customers = world.shop.add_customers(len(sequences))
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(sequences, pool.map(play_one, sequences, customers), strict=True))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_order_of_arrival_ends_as_the_set_of_events_says(
    world: MoneyWorld, number: int
) -> None:
    sequences = list(permutations(SESSION_AND_END, number))

    ended = play_all(world, sequences)

    assert {told: expected(told) for told in sequences} == ended


def test_all_that_can_be_told_ends_the_same_from_wherever_it_begins(world: MoneyWorld) -> None:
    turns = [SESSION_AND_END[n:] + SESSION_AND_END[:n] for n in range(len(SESSION_AND_END))]
    sequences = [*turns, *(turn[::-1] for turn in turns)]

    ended = play_all(world, sequences)

    assert set(ended.values()) == {("refunded", 0)}


def test_a_repeat_that_comes_after_everything_else_changes_nothing(world: MoneyWorld) -> None:
    sequences = [(*told, told[0]) for told in permutations(SESSION_AND_END, 2)]

    ended = play_all(world, sequences)

    assert {told: expected(told) for told in sequences} == ended


_TOLD = st.lists(st.sampled_from(list(Told)), min_size=1, max_size=9)


@given(told=_TOLD, repeats=st.lists(st.integers(0, 8), max_size=4))
@settings(max_examples=30)
def test_any_sequence_with_any_repeats_ends_as_its_set_says(
    session_world: MoneyWorld, told: list[Told], repeats: list[int]
) -> None:
    world = session_world
    session = world.session()
    events = [each.event(session) for each in told]
    events += [events[position % len(events)] for position in repeats]

    assert play(world, session, events) == expected(told)

    rows = world.shop.rows(
        "select id from public.stripe_events where stripe_session_id = %s or payment_intent = %s",
        session["id"],
        session["payment_intent"],
    )
    assert sorted(row["id"] for row in rows) == sorted({event["id"] for event in events})
    order = world.order_of(session)
    given_back = order["amount_refunded"] if order else None
    assert given_back == (amount_given_back(told, session["amount_total"]) if order else None)


def test_events_that_come_at_once_end_as_their_set_says(world: MoneyWorld) -> None:
    """Over HTTP, twice each and with songs being made; all sets of two and three, and all."""
    sets = [*combinations(SESSION_AND_END, 2), *combinations(SESSION_AND_END, 3), SESSION_AND_END]
    sessions = [world.session(customer) for customer in world.shop.add_customers(len(sets))]
    for told, session in zip(sets, sessions, strict=True):
        events = [each.event(session) for each in told]
        answers = world.deliver_at_once([*events, *events])
        assert {answer.status for answer in answers} == {200}
    world.rest()

    ends = [state if state != "paid" else "completed" for state in map(end_state, sets)]
    assert [world.status_of(session) for session in sessions] == ends
    assert world.late_purchases() == []
    assert _songs(world, "completed") == [3]
    assert max(_songs(world, "refunded"), default=0) <= 3
    assert [*_songs(world, "pending"), *_songs(world, "canceled")] == []
    assert world.letters() == ([], [])


def _songs(world: MoneyWorld, status: str) -> list[int]:
    """The different numbers of purchases that orders in this state have, where there are any."""
    rows = world.shop.rows(
        "select distinct count(*) as number from public.purchases p"
        " join public.orders o on o.id = p.order_id where o.status = %s group by o.id",
        status,
    )
    return sorted(row["number"] for row in rows)


# Through the whole stack, with songs


@pytest.mark.parametrize(
    ("told", "status", "songs"),
    [
        ([Told.UNPAID], "pending", 0),
        ([Told.UNPAID, Told.SUCCEEDED], "completed", 3),
        ([Told.SUCCEEDED, Told.UNPAID], "completed", 3),
        ([Told.FAILED, Told.SUCCEEDED], "completed", 3),
        ([Told.UNPAID, Told.FAILED], "canceled", 0),
        ([Told.UNPAID, Told.REFUNDED], "pending", 0),
        ([Told.PAID, Told.REFUNDED], "refunded", 3),
        ([Told.PAID, Told.REFUND], "refunded", 3),
        ([Told.PAID, Told.DISPUTED], "refunded", 3),
        ([Told.PAID, Told.PART], "completed", 3),
        ([Told.REFUNDED, Told.PAID], "refunded", 0),
        ([Told.REFUND, Told.UNPAID, Told.SUCCEEDED], "refunded", 0),
        ([Told.DISPUTED, Told.PAID], "refunded", 0),
        ([Told.PART, Told.PAID], "completed", 3),
    ],
)
def test_each_event_is_worked_off_before_the_next_arrives(
    world: MoneyWorld, told: list[Told], status: str, songs: int
) -> None:
    session = world.session()
    for each in told:
        assert world.deliver(each.event(session)).status == 200
        world.rest()

    assert world.status_of(session) == status
    assert world.provider.songs_made == songs
    assert {run.status for run in world.runs()} <= {"completed"}
    assert world.letters() == ([], [])


def test_both_sides_of_the_table_are_in_it() -> None:
    """The oracle itself: which states it gives, over all sets."""
    sets = [set(c) for n in range(1, 8) for c in combinations(SESSION_AND_END, n)]

    assert {end_state(told) for told in sets} == {None, "pending", "canceled", "paid", "refunded"}
    assert sum(end_state(told) == "paid" for told in sets) == 24


def test_the_store_is_what_the_webhook_uses(world: MoneyWorld) -> None:
    """The table goes past HTTP; the same event through the webhook leaves the same rows."""
    sessions = [world.session(), world.session()]
    record(world.store, Told.UNPAID.event(sessions[0]))
    world.deliver(Told.UNPAID.event(sessions[1]))

    [past, through] = world.shop.orders()
    own = ("id", "user_id", "customization_id", "stripe_session_id", "payment_intent")
    times = ("created_at", "updated_at")
    assert {k: v for k, v in past.items() if k not in (*own, *times)} == {
        k: v for k, v in through.items() if k not in (*own, *times)
    }
