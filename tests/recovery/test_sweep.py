"""The sweep: one test for each thing it finds, through the cron function's own run."""

from __future__ import annotations

import json

import pytest
from recovery_world import (
    DEADLINE_SECONDS,
    GRACE_SECONDS,
    RECONCILE,
    RecoveryWorld,
    request_of,
)
from world import Json, Paid, on

from devstack.faults import Call, Fault, always
from devstack.music.composer import compose
from devstack.music.faults import CUT_AFTER, INVALID_KEY
from devstack.payments import events as stripe_events

SONG = compose("found", seconds=0.4)
TAKEN_AND_FORGOTTEN = Fault(
    status=200,
    headers={"Content-Type": "application/json"},
    body=json.dumps({"ids": ["01JD0000000000000000000000"], "status": 200}).encode(),
)
"""What a server answers that takes an event and then loses it."""


def done(paid: Paid, finding: str, what: str) -> Json:
    return {"orderId": paid.order_id, "finding": finding, "done": what}


def assert_all_is_well(world: RecoveryWorld) -> None:
    """A second sweep finds nothing and changes nothing, and so does one of half an hour later."""
    before = world.state()
    assert world.sweep() == {"found": {}, "done": []}
    assert world.state() == before
    world.let_pass(DEADLINE_SECONDS)
    assert world.found() == {}


# Not handed over


def test_an_order_that_inngest_never_heard_of_is_handed_over(world: RecoveryWorld) -> None:
    paid = world.stored_order()
    world.let_pass(GRACE_SECONDS)

    assert world.sweep()["done"] == [done(paid, "not_handed_over", "handed_over")]
    assert world.generating_runs() == 1
    world.assert_delivered(paid)
    assert_all_is_well(world)


def test_an_order_of_this_minute_is_left_to_its_webhook(world: RecoveryWorld) -> None:
    paid = world.stored_order()

    assert world.found() == {}
    assert world.order(paid)["handed_over_at"] is None


def test_an_order_that_waited_for_a_day_is_handed_over_too(world: RecoveryWorld) -> None:
    """Inngest was away for longer than anybody's retries."""
    paid = world.stored_order()
    world.let_pass(25 * 3600)

    assert world.found() == {"not_handed_over": 1}
    world.assert_delivered(paid)


def test_an_event_that_inngest_took_all_the_same_starts_no_second_run(
    world: RecoveryWorld,
) -> None:
    """Its answer was lost, and the run ended before anybody noted the handover."""
    paid = world.buy()
    world.set_order(paid, status="paid", handed_over_at=None)
    world.let_pass(GRACE_SECONDS)

    assert world.sweep()["done"] == [done(paid, "not_handed_over", "handed_over")]
    assert world.generating_runs() == 1


# Stuck, and given up


def test_an_order_without_an_end_is_started_anew(world: RecoveryWorld) -> None:
    paid = world.taken_order()
    world.let_pass(DEADLINE_SECONDS)

    assert world.sweep()["done"] == [done(paid, "stuck", "started_anew_1")]
    assert world.order(paid)["redrives"] == 1
    assert world.the_run().event["id"] != f"song-generation-{paid.order_id}"
    world.assert_delivered(paid)
    assert_all_is_well(world)


def test_an_order_somebody_works_on_is_not_stuck(world: RecoveryWorld) -> None:
    """The lease of a claim says so, however old the order is."""
    paid = world.taken_order()
    world.set_order(paid, status="generating")
    world.let_pass(DEADLINE_SECONDS)
    world.shop.rows(
        "insert into public.variant_claims (order_id, variant_number, token, run_id, leased_until)"
        " values (%s, 1, gen_random_uuid(), 'run', now() + interval '1 minute')",
        paid.order_id,
    )

    assert world.found() == {}
    world.let_pass(61)
    assert world.found() == {"stuck": 1}


def test_an_order_that_was_started_anew_is_given_time(world: RecoveryWorld) -> None:
    world.faults.add(always(TAKEN_AND_FORGOTTEN, on("events")))
    world.taken_order()
    world.let_pass(DEADLINE_SECONDS)

    assert [world.found(), world.found()] == [{"stuck": 1}, {}]


def test_an_order_that_never_ends_is_given_up_with_one_dead_letter(world: RecoveryWorld) -> None:
    """Two new starts, as MAX_REDRIVES says here, and then a person is told, once."""
    world.faults.add(always(TAKEN_AND_FORGOTTEN, on("events")))
    paid = world.taken_order()
    said = []
    for _ in range(4):
        world.let_pass(DEADLINE_SECONDS)
        said += [healing["done"] for healing in world.sweep()["done"]]

    assert said == ["started_anew_1", "started_anew_2", "order_failed"]
    assert world.order(paid)["status"] == "failed"
    letter = world.dead_letter()
    assert letter["event_data"] == request_of(paid).event_data()
    assert (str(letter["order_id"]), letter["job_type"]) == (paid.order_id, "song_generation")
    assert (letter["retry_count"], letter["resolved_at"]) == (2, None)
    assert world.provider.calls == []
    assert_all_is_well(world)


def test_an_order_that_was_given_up_can_still_be_replayed(world: RecoveryWorld) -> None:
    """Inngest is mended, and the operator sends the event of the dead letter again."""
    paid = world.taken_order()
    world.set_order(paid, redrives=2)
    world.let_pass(DEADLINE_SECONDS)
    assert world.found() == {"given_up": 1}
    world.start_together(paid, 1)
    world.rest()

    world.assert_delivered(paid)
    assert world.dead_letter()["resolved_at"] is not None


# Failures that nobody was told of, and states that contradict each other


def test_a_failure_without_a_dead_letter_gets_one(world: RecoveryWorld) -> None:
    world.faults.add(always(INVALID_KEY, on("music")))
    paid = world.buy()
    world.shop.rows("delete from public.failed_jobs")

    assert world.sweep()["done"] == [done(paid, "no_dead_letter", "dead_letter_written")]
    letter = world.dead_letter()
    assert letter["event_data"] == request_of(paid).event_data()
    assert letter["resolved_at"] is None
    assert world.order(paid)["status"] == "failed"
    assert_all_is_well(world)


def test_a_dead_letter_that_a_person_resolved_stays_resolved(world: RecoveryWorld) -> None:
    world.faults.add(always(INVALID_KEY, on("music")))
    world.buy()
    world.shop.rows("update public.failed_jobs set resolved_at = now()")

    assert world.found() == {}
    assert world.open_letters() == []


def test_an_order_that_failed_with_songs_is_completed(world: RecoveryWorld) -> None:
    paid = world.buy()
    world.set_order(paid, status="failed")
    world.shop.rows(
        "insert into public.failed_jobs (job_type, order_id, event_data, error_message)"
        " values ('song_generation', %s, '{}', 'it had not')",
        paid.order_id,
    )

    assert world.sweep()["done"] == [done(paid, "contradiction", "order_completed")]
    world.assert_delivered(paid)
    assert_all_is_well(world)


def test_an_order_that_says_completed_without_a_song_is_made(world: RecoveryWorld) -> None:
    """It never said so truly: it goes back to generating, and is then stuck like any other."""
    paid = world.taken_order()
    world.set_order(paid, status="completed")

    assert world.sweep()["done"] == [done(paid, "contradiction", "order_generating")]
    world.let_pass(DEADLINE_SECONDS)
    assert world.found() == {"stuck": 1}
    world.assert_delivered(paid)
    assert_all_is_well(world)


def test_a_completed_order_leaves_no_variant_open(world: RecoveryWorld) -> None:
    paid = world.buy()
    world.shop.rows(
        "update public.song_variants set generation_status = 'generating',"
        " storage_path = storage_path || '.gone' where variant_number = 3"
    )

    assert world.found() == {"contradiction": 1}
    assert world.states(paid) == ["complete", "complete", "failed"]
    assert world.reasons(paid) == [None, None, "abandoned"]
    assert world.order(paid)["status"] == "completed"
    assert_all_is_well(world)


# Audio that lies in Storage


def doubtful_order(world: RecoveryWorld) -> Paid:
    """It failed because nobody knows whether its songs were made."""

    def cut(call: Call) -> Fault | None:
        return CUT_AFTER if call.service == "music" else None

    world.faults.add(cut)
    paid = world.buy()
    world.faults.clear()
    assert world.order(paid)["status"] == "failed"
    assert world.outcomes(paid) == ["unknown"] * 6
    return paid


def test_a_song_that_turned_up_is_adopted_and_not_bought(world: RecoveryWorld) -> None:
    paid = doubtful_order(world)
    world.put_object(paid, 2, SONG)
    calls = len(world.provider.calls)

    assert world.sweep()["done"] == [done(paid, "audio_unclaimed", "adopted, order_completed")]
    assert world.states(paid) == ["failed", "complete", "failed"]
    assert world.played(paid) == [world.shop.variants(paid.order_id)[1]["duration_ms"]]
    assert world.outcomes(paid) == ["delivered"] + ["unknown"] * 5
    assert world.order(paid)["status"] == "completed"
    assert world.open_letters() == []
    assert len(world.provider.calls) == calls
    assert_all_is_well(world)


@pytest.mark.parametrize("audio", [b"", b"<html>", SONG[:-1]], ids=["empty", "html", "cut"])
def test_audio_that_cannot_be_played_is_left_alone(world: RecoveryWorld, audio: bytes) -> None:
    """It is looked at once, not every two minutes for ever."""
    paid = doubtful_order(world)
    world.put_object(paid, 2, audio)

    assert world.sweep()["done"] == [done(paid, "audio_unclaimed", "unplayable")]
    assert world.reasons(paid)[1] == "audio_unplayable"
    assert world.order(paid)["status"] == "failed"
    assert len(world.open_letters()) == 1
    looks = world.faults.count("storage")
    assert_all_is_well(world)
    assert world.faults.count("storage") == looks


# Refunds


def test_what_a_refunded_order_left_behind_is_closed(world: RecoveryWorld) -> None:
    """The process died while it composed, and the money went back before anybody returned."""
    world.hold(on("music"))
    paid = world.pay()
    world.eventually(lambda: world.faults.count("music") == 3, "three calls")
    amount = paid.session["amount_total"]
    refund = stripe_events.charge_refunded(paid.session["payment_intent"], amount, amount)
    assert world.deliver(refund).status == 200
    world.crash()
    world.restart()
    world.let_pass(61)

    assert world.found() == {"contradiction": 1}
    assert world.order(paid)["status"] == "refunded"
    assert world.states(paid) == ["failed"] * 3
    assert world.reasons(paid) == ["refunded"] * 3
    assert world.outcomes(paid) == ["unknown"] * 3
    assert world.shop.dead_letters() == []
    assert_all_is_well(world)


def test_a_refunded_order_is_never_started_or_completed_again(world: RecoveryWorld) -> None:
    paid = world.stored_order()
    world.set_order(paid, status="refunded")
    world.put_object(paid, 1, SONG)
    world.let_pass(DEADLINE_SECONDS)

    assert world.found() == {}
    assert world.order(paid)["status"] == "refunded"
    assert world.runs() == []


# All of them together


def test_an_order_that_cannot_be_healed_now_does_not_stop_the_others(
    world: RecoveryWorld,
) -> None:
    sick, well = doubtful_order(world), doubtful_order(world)
    for paid in (sick, well):
        world.put_object(paid, 1, SONG)
    world.faults.add(
        lambda call: (
            Fault(status=503)
            if call.service == "storage" and call.method == "GET" and sick.order_id in call.path
            else None
        )
    )
    healings = {healing["orderId"]: healing["done"] for healing in world.sweep()["done"]}

    assert healings[well.order_id] == "adopted, order_completed"
    assert healings[sick.order_id].startswith("left: store_unavailable")
    assert world.order(sick)["status"] == "failed"
    world.faults.clear()
    assert world.sweep()["done"] == [done(sick, "audio_unclaimed", "adopted, order_completed")]
    assert_all_is_well(world)


def test_a_database_that_fails_in_the_middle_leaves_the_rest_for_the_next_sweep(
    world: RecoveryWorld,
) -> None:
    orders = [world.taken_order() for _ in range(3)]
    world.let_pass(DEADLINE_SECONDS)
    world.faults.add(always(Fault(status=503), on("rest", "rpc/mark_handed_over")))
    first = world.sweep()

    assert first["found"] == {"stuck": 3}
    assert {healing["done"][:5] for healing in first["done"]} == {"left:"}
    for paid in orders:
        assert world.order(paid)["status"] == "completed"
    assert world.generating_runs() == 3
    world.faults.clear()
    assert_all_is_well(world)


def test_the_sweep_is_registered_as_a_cron_function(world: RecoveryWorld) -> None:
    """With the expression that RECONCILE_CRON gives, and one at a time."""
    function = world.engine.functions[RECONCILE]

    assert [trigger.expression for trigger in function.cron_triggers] == ["*/7 * * * *"]
    assert [limit.limit for limit in function.concurrency] == [1]


def test_sweeps_at_the_same_time_start_an_order_once(world: RecoveryWorld) -> None:
    """The operator's and the cron's, both of which found it before either had healed it."""
    paid = world.taken_order()
    world.let_pass(DEADLINE_SECONDS)
    world.faults.add(always(Fault(delay_seconds=0.3), on("events")))
    world.stack.loop.call(lambda: world.engine.fire_cron(RECONCILE))
    printed = world.command("sweep")
    world.rest()

    assert printed.status == 0
    assert world.generating_runs() == 1
    world.assert_delivered(paid)


# By hand


def test_the_command_heals_and_says_so(world: RecoveryWorld) -> None:
    paid = world.stored_order()
    world.let_pass(GRACE_SECONDS)
    printed = world.command("sweep")
    world.rest()

    assert printed.status == 0
    assert printed.lines == [
        f"{paid.order_id}  not_handed_over   handed_over",
        "1 order looked at.",
    ]
    assert printed.errors == []
    world.assert_delivered(paid)


def test_a_dry_run_changes_nothing_and_says_what_would_be_healed(world: RecoveryWorld) -> None:
    doubtful = doubtful_order(world)
    world.put_object(doubtful, 1, SONG)
    stuck, new = world.taken_order(), world.stored_order()
    world.let_pass(DEADLINE_SECONDS)
    before, sent = world.state(), world.faults.count("events")
    printed = world.command("sweep", "--dry-run")

    assert printed.status == 0
    assert sorted(printed.lines[:-1]) == sorted(
        [
            f"{doubtful.order_id}  audio_unclaimed   found",
            f"{stuck.order_id}  stuck             found",
            f"{new.order_id}  not_handed_over   found",
        ]
    )
    assert printed.lines[-1] == "3 orders to heal."
    assert world.state() == before
    assert world.faults.count("events") == sent


def test_the_command_says_in_one_line_that_supabase_is_away(world: RecoveryWorld) -> None:
    printed = world.command("sweep", SUPABASE_URL="http://127.0.0.1:9")

    assert printed.status == 1
    assert printed.lines == []
    assert printed.errors == ["Error: store_unavailable: ConnectError"]
