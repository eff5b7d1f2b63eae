"""Songs that were bought while Storage would not take them are not thrown away."""

from __future__ import annotations

import pytest
import requests
from test_whole_story import download
from world import GENERATING, Json, Paid, World, on

from devstack.faults import Fault, always, times
from devstack.music.composer import compose
from devstack.payments import events as stripe_events
from devstack.project.keys import SECRET_KEY
from songswipe.audio import mp3_duration_ms

UPLOAD = on("storage", method="POST")


def attempts_of_generating(world: World) -> list[tuple[int, str | None]]:
    return [(attempt, op) for step, attempt, op in world.operations() if step == GENERATING]


def assert_three_songs_play(world: World, paid: Paid, *, bought: int = 3) -> None:
    assert world.order(paid)["status"] == "completed"
    variants = world.shop.variants(paid.order_id)
    assert [str(row["generation_status"]) for row in variants] == ["complete"] * 3
    songs = [download(world, row["storage_path"]) for row in variants]
    assert [mp3_duration_ms(song) for song in songs] == [row["duration_ms"] for row in variants]
    assert world.provider.songs_made == bought
    assert len(world.provider.calls) == bought
    assert world.shop.rows("select * from public.undelivered_audio") == []
    assert world.shop.dead_letters() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=500, body=b"<html>"),
        Fault(status=429),
        Fault(cut="before"),
    ],
    ids=["503", "500", "429", "cut"],
)
def test_an_upload_that_fails_once_is_made_again(world: World, fault: Fault) -> None:
    world.faults.add(times(1, fault, UPLOAD))
    paid = world.buy()

    assert attempts_of_generating(world) == [(0, "StepRun")]
    assert sum(map(UPLOAD, world.faults.calls)) == 4
    assert_three_songs_play(world, paid)


def test_an_upload_whose_answer_was_lost_counts(world: World) -> None:
    """The second one is answered 409: the song lies there, and is looked at before it is sold."""
    world.faults.add(times(1, Fault(cut="after"), UPLOAD))
    paid = world.buy()

    assert sum(map(UPLOAD, world.faults.calls)) == 4
    assert sum(map(on("storage", method="GET"), world.faults.calls)) == 1
    assert_three_songs_play(world, paid)


def test_songs_wait_in_the_database_while_storage_is_away(world: World) -> None:
    """The next attempt delivers them from there, without the provider."""
    kept: list[int] = []

    def look(call: object) -> None:
        if world.faults.count("rest", "rpc/kept_audio") == 1 and not kept:
            kept.append(len(world.shop.rows("select * from public.undelivered_audio")))

    world.faults.add(always(Fault(status=503), world.in_first_attempt(UPLOAD)))
    world.faults.add(look)
    paid = world.buy()

    assert kept == [3]
    assert attempts_of_generating(world) == [(0, "StepError"), (1, "StepRun")]
    assert world.outcomes(paid) == ["delivered"] * 3
    assert_three_songs_play(world, paid)


def test_a_song_that_storage_refuses_is_kept_as_well(world: World) -> None:
    """A bucket that takes no MP3s is the operator's to mend; the songs are paid for."""
    refusal = Fault(
        status=400,
        headers={"Content-Type": "application/json"},
        body=b'{"statusCode":"415","error":"invalid_mime_type","message":"mime type"}',
    )
    world.faults.add(always(refusal, world.in_first_attempt(UPLOAD)))
    paid = world.buy()

    assert_three_songs_play(world, paid)


def test_songs_wait_longer_than_their_run_does(world: World) -> None:
    """Storage is away for all five attempts: the order has no end yet, and a later run, which the
    sweep starts, delivers what was bought."""
    world.faults.add(always(Fault(status=503), UPLOAD))
    paid = world.buy()
    assert world.order(paid)["status"] == "generating"
    assert len(world.shop.rows("select * from public.undelivered_audio")) == 3
    assert len(world.provider.calls) == 3

    world.faults.clear()
    world.run_again()
    world.rest()

    assert_three_songs_play(world, paid)


def awaited(world: World) -> tuple[Paid, Json]:
    """An order that is stored and not paid yet, and the event that will pay it."""
    paid = world.pay(payment_status="unpaid")
    return paid, stripe_events.async_payment_succeeded(paid.session)


def put_object(world: World, path: str, audio: bytes) -> None:
    response = requests.post(
        f"{world.stack.gateway.url}/storage/v1/object/songs/{path}",
        files={"file": ("variant.mp3", audio, "audio/mpeg")},
        headers={"apikey": SECRET_KEY, "Authorization": f"Bearer {SECRET_KEY}"},
        timeout=10,
    )
    assert response.status_code == 200


def test_a_song_that_lies_in_storage_already_is_not_bought(world: World) -> None:
    """A process died between its upload and its note."""
    paid, payment = awaited(world)
    path = f"{paid.customer.user_id}/{paid.order_id}/variant-2.mp3"
    put_object(world, path, compose("found", seconds=0.4))
    world.deliver(payment)
    world.rest()

    assert download(world, path) == compose("found", seconds=0.4)
    assert_three_songs_play(world, paid, bought=2)


@pytest.mark.parametrize(
    "audio",
    [b"", b"<html>", compose("found", seconds=0.4)[:-1], compose("found", seconds=0.4)[:30]],
    ids=["empty", "html", "cut by one byte", "cut in its tag"],
)
def test_what_lies_in_storage_and_cannot_be_played_is_replaced(world: World, audio: bytes) -> None:
    paid, payment = awaited(world)
    put_object(world, f"{paid.customer.user_id}/{paid.order_id}/variant-2.mp3", audio)
    world.deliver(payment)
    world.rest()

    assert_three_songs_play(world, paid)
