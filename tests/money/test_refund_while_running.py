"""A refund while songs are being made: the run ends, and nothing more is bought."""

from __future__ import annotations

import pytest
from money_world import MoneyWorld
from story import Told
from world import Paid, on

from devstack.faults import Call, Fault, always
from devstack.music.faults import throttled

_ENDINGS = [Told.REFUNDED, Told.REFUND, Told.DISPUTED]


def put_off(world: MoneyWorld, seconds: int) -> None:
    """The provider makes the first song and puts the others off."""
    songs = 0

    def rule(call: Call) -> Fault | None:
        nonlocal songs
        if call.service != "music":
            return None
        songs += 1
        return None if songs == 1 else throttled(seconds)

    world.faults.add(rule)


def wait_for_one_song(world: MoneyWorld, paid: Paid) -> None:
    world.eventually(
        lambda: sorted(world.states(paid)) == ["complete", "pending", "pending"],
        "one song is complete and two wait",
    )


@pytest.mark.parametrize("told", _ENDINGS)
def test_the_run_is_cancelled_and_nothing_more_is_bought(world: MoneyWorld, told: Told) -> None:
    put_off(world, 600)
    paid = world.pay()
    wait_for_one_song(world, paid)

    world.deliver(told.event(paid.session))
    world.faults.clear()
    world.rest()

    assert world.order(paid)["status"] == "refunded"
    assert world.the_run().status == "cancelled"
    assert (len(world.provider.calls), world.provider.songs_made) == (3, 1)
    assert world.outcomes(paid) == ["delivered", "refused", "refused"]
    assert world.late_purchases() == []
    assert world.letters() == ([], [])


def test_a_finished_song_stays_and_can_be_played(world: MoneyWorld) -> None:
    put_off(world, 600)
    paid = world.pay()
    wait_for_one_song(world, paid)

    world.refund(paid)
    world.rest()

    assert sorted(world.states(paid)) == ["complete", "failed", "failed"]
    assert sorted(world.reasons(paid), key=str) == [None, "refunded", "refunded"]
    assert world.played(paid) == 1


def test_the_cancellation_may_be_lost_and_still_nothing_is_bought(world: MoneyWorld) -> None:
    put_off(world, 100)
    world.faults.add(always(Fault(status=400, body=b"{}"), _is_cancellation))
    paid = world.pay()
    wait_for_one_song(world, paid)
    answer = world.refund(paid)
    world.faults.clear()
    world.rest()

    assert answer.status == 200
    assert world.the_run().status == "completed"
    assert world.the_run().output["status"] == "refunded"
    assert (world.order(paid)["status"], world.provider.songs_made) == ("refunded", 1)
    assert len(world.shop.purchases(paid.order_id)) == 3
    assert world.late_purchases() == []


def _is_cancellation(call: Call) -> bool:
    return call.service == "events" and b"song/order.refunded" in call.body


def test_songs_under_way_are_delivered_and_no_other_begins(world: MoneyWorld) -> None:
    world.provider.compose_seconds = 0.5
    paid = world.pay()
    world.eventually(lambda: len(world.provider.calls) == 3, "three songs are under way")
    world.refund(paid)
    assert world.states(paid) == ["generating"] * 3
    world.rest()
    world.eventually(lambda: world.states(paid) == ["complete"] * 3, "they are delivered")

    assert world.order(paid)["status"] == "refunded"
    assert world.the_run().status == "cancelled"
    assert (world.outcomes(paid), world.played(paid)) == (["delivered"] * 3, 3)
    assert world.late_purchases() == []


def test_a_replay_of_a_refunded_order_buys_nothing(world: MoneyWorld) -> None:
    put_off(world, 600)
    paid = world.pay()
    wait_for_one_song(world, paid)
    world.refund(paid)
    world.faults.clear()
    world.rest()

    world.run_again()
    world.rest()

    assert [run.status for run in world.runs()] == ["cancelled", "completed"]
    assert (world.order(paid)["status"], world.provider.songs_made) == ("refunded", 1)
    assert len(world.shop.purchases(paid.order_id)) == 3


def test_a_part_that_goes_back_leaves_the_run_alone(world: MoneyWorld) -> None:
    put_off(world, 50)
    paid = world.pay()
    wait_for_one_song(world, paid)
    world.deliver(Told.PART.event(paid.session))
    world.faults.clear()
    world.rest()

    assert world.the_run().status == "completed"
    assert (world.order(paid)["status"], world.provider.songs_made) == ("completed", 3)


def test_a_refund_that_the_database_did_not_take_is_told_again(world: MoneyWorld) -> None:
    paid = world.buy()
    world.faults.add(always(Fault(status=503), on("rest", "rpc/record_refund")))
    first = world.refund(paid)
    world.faults.clear()
    second = world.refund(paid)

    assert (first.status, second.status) == (503, 200)
    assert world.order(paid)["status"] == "refunded"
