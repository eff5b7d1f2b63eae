"""The failure handler has one attempt. What it could not write is written by the sweep."""

from __future__ import annotations

import pytest
from recovery_world import DEADLINE_SECONDS, RecoveryWorld, request_of
from world import GENERATE, Paid, on

from devstack.faults import Call, Fault, always
from devstack.music.faults import unavailable

DOWN = always(unavailable(503), on("music"))
ATTEMPTS = 5
CALLS_OF_FOUR_ATTEMPTS = 3 * 4


def database_away_from_the_last_attempt_on(world: RecoveryWorld) -> None:
    """Its calls to the provider are made, and from then on the database is gone: for what they
    brought, for the end of the run, and for the failure handler with all its patience."""

    def rule(call: Call) -> Fault | None:
        reached = world.faults.count("music") > CALLS_OF_FOUR_ATTEMPTS
        # The three variants do not claim in step: one may call while another still claims.
        is_claim = call.detail == "rpc/claim_variant"
        gone = reached and call.service == "rest" and not is_claim
        return Fault(status=503) if gone else None

    world.faults.add(rule)


def assert_nobody_was_told(world: RecoveryWorld, paid: Paid) -> None:
    """The run has failed and so has its handler; the order does not know yet."""
    assert world.runs()[0].status == "failed"
    [handler] = world.engine.runs_of(f"{GENERATE}-failure")
    assert (handler.status, len(handler.calls)) == ("failed", 1)
    assert world.shop.dead_letters() == []
    assert world.order(paid)["status"] == "generating"


def assert_failed_with_one_dead_letter(world: RecoveryWorld, paid: Paid) -> None:
    assert world.order(paid)["status"] == "failed"
    assert world.states(paid) == ["failed"] * 3
    letter = world.dead_letter()
    assert letter["event_data"] == request_of(paid).event_data()
    assert (letter["job_type"], letter["retry_count"]) == ("song_generation", 4)
    assert letter["resolved_at"] is None
    world.let_pass(DEADLINE_SECONDS)
    assert world.found() == {}
    assert len(world.shop.dead_letters()) == 1


def lost_failure(world: RecoveryWorld) -> Paid:
    world.faults.add(DOWN)
    database_away_from_the_last_attempt_on(world)
    paid = world.buy()
    assert_nobody_was_told(world, paid)
    return paid


def test_the_sweep_brings_the_dead_letter_of_a_handler_without_a_database(
    world: RecoveryWorld,
) -> None:
    """The provider stays down: the new run uses up its retries as well, and says so."""
    paid = lost_failure(world)
    assert len(world.provider.calls) == 3 * ATTEMPTS
    world.faults.clear()
    world.faults.add(DOWN)
    world.let_pass(DEADLINE_SECONDS)

    assert world.found() == {"stuck": 1}
    assert_failed_with_one_dead_letter(world, paid)
    assert len(world.provider.calls) == 2 * 3 * ATTEMPTS
    assert world.dead_letter()["run_id"] == world.runs()[1].id
    assert world.provider.songs_made == 0


def test_the_sweep_brings_the_songs_where_the_provider_has_recovered(
    world: RecoveryWorld,
) -> None:
    paid = lost_failure(world)
    world.faults.clear()
    world.let_pass(DEADLINE_SECONDS)

    assert world.found() == {"stuck": 1}
    world.assert_delivered(paid)
    # The last three calls of the first run were never closed: nobody can say how they ended.
    assert world.outcomes(paid) == ["delivered"] * 3 + ["refused"] * 12 + ["unknown"] * 3


def test_a_failure_that_only_could_not_be_written_down_keeps_its_true_count(
    world: RecoveryWorld,
) -> None:
    """Every variant had failed already, so the new run calls nobody, and the ledger knows how
    many retries the first one used."""
    world.faults.add(DOWN)
    world.faults.add(always(Fault(status=503), on("rest", "rpc/record_failure")))
    paid = world.buy()
    assert_nobody_was_told(world, paid)
    world.faults.clear()
    world.faults.add(DOWN)
    world.let_pass(DEADLINE_SECONDS)

    assert world.found() == {"stuck": 1}
    assert len(world.provider.calls) == 3 * ATTEMPTS
    assert_failed_with_one_dead_letter(world, paid)


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_order_that_was_given_up_in_an_outage_is_told_of_once(
    world: RecoveryWorld, cut: str
) -> None:
    """The sweep's own write fails, or succeeds unheard: the next sweep makes it right."""
    paid = world.taken_order()
    world.set_order(paid, redrives=2)
    world.let_pass(DEADLINE_SECONDS)
    lost = Fault(cut="before") if cut == "before" else Fault(cut="after")
    world.faults.add(always(lost, on("rest", "rpc/record_failure")))
    assert world.sweep()["done"][0]["done"].startswith("left: store_unavailable")
    world.faults.clear()

    assert world.found() == ({"given_up": 1} if cut == "before" else {})
    assert world.order(paid)["status"] == "failed"
    assert len(world.shop.dead_letters()) == 1
