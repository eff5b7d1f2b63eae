"""``kill -9`` at several instants: the order ends right, and costs at most what nobody can know."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from recovery_world import DEADLINE_SECONDS, GRACE_SECONDS, RecoveryWorld
from world import Paid, on

RECOVERIES = ["engine", "sweep"]
"""Who goes on after a crash: the engine's next attempt where the service is back in time for it,
the sweep where every attempt fell into the outage and the failure handler with them."""

UPLOAD = on("storage", method="POST")


def come_back(world: RecoveryWorld, recovery: str) -> None:
    """The service dies, and returns when the dead workers' leases have ended."""
    if recovery == "engine":
        # It is told nothing and asks nobody until the service is up again.
        world.engine.away = True
    world.crash()
    if recovery == "sweep":
        world.rest()
        assert world.the_run().status == "failed"
    world.restart()
    world.let_pass(DEADLINE_SECONDS)
    if recovery == "engine":
        world.engine.away = False
        world.rest()
        assert world.the_run().status == "completed"
    else:
        assert world.found() == {"stuck": 1}


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_killed_while_it_composed(world: RecoveryWorld, recovery: str) -> None:
    """The provider made the songs and billed them; each is bought once more, and the ledger says
    what happened to the first."""
    world.provider.compose_seconds = 0.3
    paid = world.pay()
    world.eventually(lambda: len(world.provider.calls) == 3, "three calls")
    come_back(world, recovery)

    assert world.outcomes(paid) == ["delivered"] * 3 + ["unknown"] * 3
    lost = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "unknown"]
    assert [(row["number"], row["reason"]) for row in lost] == [(1, "interrupted")] * 3
    assert all(row["closed_at"] is not None for row in lost)
    assert len(world.provider.calls) == 6
    world.assert_delivered(paid, songs_made=6)


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_killed_before_the_upload(world: RecoveryWorld, recovery: str) -> None:
    """The songs were in its memory alone."""
    held = world.hold(UPLOAD)
    paid = world.pay()
    held.wait()
    world.eventually(lambda: sum(map(UPLOAD, world.faults.calls)) == 3, "three uploads")
    come_back(world, recovery)

    assert world.outcomes(paid) == ["delivered"] * 3 + ["unknown"] * 3
    assert len(world.provider.calls) == 6
    world.assert_delivered(paid, songs_made=6)


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_killed_between_the_upload_and_its_note(world: RecoveryWorld, recovery: str) -> None:
    """The songs lie in Storage: they are found there, and nothing is bought."""
    finish = on("rest", "rpc/finish_variant")
    held = world.hold(finish)
    paid = world.pay()
    held.wait()
    world.eventually(lambda: sum(map(finish, world.faults.calls)) == 3, "three songs stored")
    come_back(world, recovery)

    assert world.outcomes(paid) == ["delivered"] * 3
    assert len(world.provider.calls) == 3
    world.assert_delivered(paid)


@pytest.mark.parametrize(
    "detail", ["rpc/begin_generation", "song_variants", "rpc/claim_variant", "rpc/finalize_order"]
)
def test_killed_in_any_other_step_it_buys_three_songs(world: RecoveryWorld, detail: str) -> None:
    held = world.hold(on("rest", detail))
    paid = world.pay()
    held.wait()
    come_back(world, "engine")

    assert world.outcomes(paid) == ["delivered"] * 3
    assert len(world.provider.calls) == 3
    world.assert_delivered(paid)


def test_killed_twice_while_it_composed_it_gives_up_and_says_so(world: RecoveryWorld) -> None:
    """Two songs of each variant may have been billed: there is no third."""
    held = world.hold(on("music"))
    paid = world.pay()
    held.wait()
    world.eventually(lambda: len(world.provider.calls) == 3, "three calls")
    world.engine.away = True
    world.crash()
    world.restart()
    world.let_pass(DEADLINE_SECONDS)
    held = world.hold(on("music"))
    world.engine.away = False
    held.wait()
    world.eventually(lambda: len(world.provider.calls) == 6, "three more")
    come_back_for_good(world, paid)

    assert world.outcomes(paid) == ["unknown"] * 6
    assert world.reasons(paid) == ["outcome_unknown"] * 3
    assert world.order(paid)["status"] == "failed"
    letter = world.dead_letter()
    assert letter["resolved_at"] is None
    assert "outcome_unknown" in letter["error_message"]
    assert len(world.provider.calls) == 6


def come_back_for_good(world: RecoveryWorld, paid: Paid) -> None:
    world.engine.away = True
    world.crash()
    world.restart()
    world.let_pass(DEADLINE_SECONDS)
    world.engine.away = False
    world.rest()
    assert world.order(paid)["status"] != "generating"


@pytest.mark.parametrize("redelivered", [True, False], ids=["redelivered", "not redelivered"])
@pytest.mark.parametrize("instant", ["before the handover", "before its note"])
def test_killed_in_the_webhook_after_the_commit(
    world: RecoveryWorld, instant: str, redelivered: bool
) -> None:
    """Stripe has no answer. Whether it asks again or not, there is one order and one run."""
    event = world.paid_event(world.shop.add_customer())
    call = on("events") if instant == "before the handover" else on("rest", "rpc/mark_handed_over")
    held = world.hold(call)
    with ThreadPoolExecutor(1) as stripe:
        delivery = stripe.submit(world.deliver, event)
        held.wait()
        world.engine.away = True
        world.crash()
        assert delivery.result(20).status is None
    world.restart()
    world.engine.away = False
    if redelivered:
        answer = world.deliver(event)
        assert (answer.status, json.loads(answer.body)["action"]) == (200, "known")
        world.rest()
    else:
        world.rest()
        world.let_pass(GRACE_SECONDS)
        world.sweep()

    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.generating_runs() == 1
    assert world.provider.songs_made == 3
    assert len(world.shop.purchases(order["id"])) == 3
