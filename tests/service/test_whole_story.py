"""One paid Checkout Session, from Stripe's event to three songs that can be played."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from world import GENERATE, STEPS, World, on

from devstack.faults import Call, Fault, times
from devstack.project.keys import SECRET_KEY
from devstack.shop import SAMPLE_CUSTOMIZATION
from devstack.stack import MUSIC_KEY, WEBHOOK_SECRET
from songswipe.audio import mp3_duration_ms

WORDS = {
    "recipient_name": "my heliotrope aunt",
    "your_name": "your marzipan nephew",
    "special_memories": "The tangerine umbrella in the harbour",
    "things_to_avoid": "Never mention the zeppelin",
}


def download(world: World, path: str) -> bytes:
    response = requests.get(
        f"{world.stack.gateway.url}/storage/v1/object/songs/{path}",
        headers={"apikey": SECRET_KEY, "Authorization": f"Bearer {SECRET_KEY}"},
        timeout=10,
    )
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "audio/mpeg"
    return response.content


def test_a_paid_session_becomes_one_completed_order(world: World) -> None:
    paid = world.buy(amount_total=1990, currency="eur")

    assert paid.said == {
        "received": True,
        "action": "created",
        "orderId": paid.order_id,
        "status": "paid",
        "handedOver": True,
    }
    [order] = world.shop.orders()
    assert str(order["id"]) == paid.order_id
    assert str(order["user_id"]) == paid.customer.user_id
    assert str(order["customization_id"]) == paid.customer.customization_id
    assert order["stripe_session_id"] == paid.session["id"]
    assert order["payment_intent"] == paid.session["payment_intent"]
    assert (order["status"], order["amount"], order["currency"]) == ("completed", 1990, "eur")
    assert order["handed_over_at"] is not None
    assert order["generation_started_at"] >= order["created_at"]
    assert (order["redrives"], order["amount_refunded"]) == (0, None)
    assert world.shop.dead_letters() == []


def test_its_three_variants_are_complete_and_playable(world: World) -> None:
    """Each row's path holds an MP3 that plays for as long as the row says, and they differ."""
    paid = world.buy()
    variants = world.shop.variants(paid.order_id)

    assert [row["variant_number"] for row in variants] == [1, 2, 3]
    assert {row["generation_status"] for row in variants} == {"complete"}
    assert [row["storage_path"] for row in variants] == [
        f"{paid.customer.user_id}/{paid.order_id}/variant-{number}.mp3" for number in (1, 2, 3)
    ]
    assert {str(row["user_id"]) for row in variants} == {paid.customer.user_id}
    assert all(row["completed_at"] is not None for row in variants)
    assert not any(row["selected"] or row["failure_reason"] for row in variants)
    songs = [download(world, row["storage_path"]) for row in variants]
    assert [mp3_duration_ms(song) for song in songs] == [row["duration_ms"] for row in variants]
    assert len(set(songs)) == 3


def test_the_ledger_holds_one_delivered_purchase_for_each_song(world: World) -> None:
    paid = world.buy()
    purchases = world.shop.purchases(paid.order_id)
    [run] = world.runs()

    assert [(row["variant_number"], row["number"]) for row in purchases] == [(1, 1), (2, 1), (3, 1)]
    assert {row["outcome"] for row in purchases} == {"delivered"}
    assert {(row["run_id"], row["attempt"]) for row in purchases} == {(run.id, 0)}
    assert {(row["model_id"], row["length_ms"]) for row in purchases} == {("music_v1", 60_000)}
    assert {row["prompt_sha256"] for row in purchases} == {
        call.prompt_sha256 for call in world.provider.calls
    }
    assert len({row["provider_song_id"] for row in purchases} - {None}) == 3
    for row, variant in zip(purchases, world.shop.variants(paid.order_id), strict=True):
        assert row["duration_ms"] == variant["duration_ms"]
        assert row["size_bytes"] == len(download(world, variant["storage_path"]))
        assert row["opened_at"] <= row["closed_at"]


def test_nothing_is_left_over_when_it_is_done(world: World) -> None:
    """No claim, no audio kept aside, and one record of the event that Stripe sent."""
    paid = world.buy()

    assert world.shop.rows("select * from public.variant_claims") == []
    assert world.shop.rows("select * from public.undelivered_audio") == []
    [event] = world.shop.rows("select * from public.stripe_events")
    assert (event["id"], event["outcome"]) == (paid.event["id"], "created")
    assert event["stripe_session_id"] == paid.session["id"]


def test_every_step_runs_once_and_in_order(world: World) -> None:
    """Six calls for one order: each checkpoint once, then the function's result."""
    paid = world.buy()

    assert world.operations() == [(step, 0, "StepRun") for step in STEPS] + [(None, 0, None)]
    assert world.the_run().output == {
        "orderId": paid.order_id,
        "status": "completed",
        "variants": {"1": "complete", "2": "complete", "3": "complete"},
    }
    assert world.provider.songs_made == 3
    assert len(world.provider.calls) == 3
    for detail in ("customizations", "rpc/begin_generation", "song_variants"):
        assert world.faults.count("rest", detail) == 1
    assert world.faults.count("storage") == 3


def test_the_three_songs_are_composed_at_the_same_time(world: World) -> None:
    world.provider.compose_seconds = 0.15
    world.buy()

    assert world.provider.concurrent_max == 3


def test_songs_can_be_heard_as_soon_as_each_is_complete(world: World) -> None:
    """When a slow song is uploaded its siblings have long been complete."""
    seen: list[list[str]] = []

    def look(call: Call) -> None:
        if call.service == "storage" and world.faults.count("storage") == 3:
            rows = world.shop.rows("select generation_status::text as s from public.song_variants")
            seen.append(sorted(row["s"] for row in rows))

    world.faults.add(times(1, Fault(delay_seconds=0.4), on("music")))
    world.faults.add(look)
    world.buy()

    assert seen == [["complete", "complete", "generating"]]


def test_the_provider_gets_every_fact_of_the_customization(world: World) -> None:
    customer = world.shop.add_customer(song_length=90, **WORDS)
    world.buy(customer)
    prompts = {call.prompt for call in world.provider.calls}
    [prompt] = prompts

    for fact in (*WORDS.values(), "a birthday", "happy and nostalgic", "acoustic", "90 seconds"):
        assert fact in prompt
    assert {call.length_ms for call in world.provider.calls} == {90_000}


def test_the_names_of_the_contract_are_kept(world: World) -> None:
    """App, function, trigger, retries, steps, and the failure function with its one attempt."""
    registered = world.engine.functions
    function = registered[GENERATE]
    failure = registered[f"{GENERATE}-failure"]
    world.buy()

    assert function.name == "Generate Song Variants"
    assert [trigger.event for trigger in function.event_triggers] == ["song/generation.requested"]
    assert function.max_attempts == 5
    assert failure.max_attempts == 1
    assert [trigger.event for trigger in failure.event_triggers] == ["inngest/function.failed"]
    assert world.the_run().step_names == [
        "fetch-customization",
        "update-order-generating",
        "create-variant-records",
        "generate-and-upload-variants",
        "finalize-order",
    ]


def test_the_event_carries_three_ids_and_its_own_is_made_from_the_order(world: World) -> None:
    paid = world.buy()
    event = world.the_run().event

    assert event["name"] == "song/generation.requested"
    assert event["data"] == {
        "orderId": paid.order_id,
        "userId": paid.customer.user_id,
        "customizationId": paid.customer.customization_id,
    }
    assert paid.order_id in event["id"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_inngest_finds_the_app_where_it_always_was(world: World, method: str) -> None:
    response = requests.request(method, f"{world.stack.app.url}/api/inngest", timeout=10)

    assert response.status_code == 200


def test_the_bucket_is_private(world: World) -> None:
    [bucket] = world.shop.rows("select * from storage.buckets where id = 'songs'")

    assert bucket["public"] is False


def test_no_word_of_the_customer_reaches_the_engine_or_the_log(world: World) -> None:
    """Nor does the buyer's address: ids are all that both of them ever hold."""
    customer = world.shop.add_customer(**WORDS)
    paid = world.buy(customer)
    told = "\n".join(
        (repr(world.engine.runs), world.log, requests.get(world.engine.url, timeout=10).text)
    )

    assert paid.order_id in told
    for word in (*WORDS.values(), *SAMPLE_CUSTOMIZATION["mood"], "buyer@example.test"):
        assert word.lower() not in told.lower()


def test_no_secret_reaches_the_engine_the_log_or_the_database(world: World) -> None:
    world.buy()
    told = repr(world.engine.runs) + world.log + Path(world.stack.app.log).read_text()
    tables = ("orders", "song_variants", "purchases", "stripe_events", "failed_jobs")
    told += "".join(repr(world.shop.rows(f"select * from public.{name}")) for name in tables)

    for secret in (SECRET_KEY, WEBHOOK_SECRET, MUSIC_KEY, "sk_test_embedded"):
        assert secret not in told


def test_a_free_order_is_booked_as_free(world: World) -> None:
    """Nothing to pay is a price too, and there is no payment intent."""
    paid = world.buy(payment_status="no_payment_required", amount_total=0)
    order = world.order(paid)

    assert (order["status"], order["amount"], order["payment_intent"]) == ("completed", 0, None)
