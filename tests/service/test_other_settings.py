"""The service with other settings: a second one beside the stack's own, against the same world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from world import World, on

from devstack.app_process import AppProcess
from devstack.faults import Fault, always, times
from devstack.serving import free_port
from devstack.stripe_events import payload_of, signature_header

OpenApp = Callable[..., AppProcess]


@pytest.fixture
def open_app(world: World, tmp_path: Path) -> Iterator[OpenApp]:
    """Starts a service with these variables changed. With ``runs`` the engine's calls go to it."""
    stack = world.stack
    with ExitStack() as closing:

        def start(*, runs: bool = False, **environ: str) -> AppProcess:
            app = AppProcess(stack.app_environ() | environ, folder=tmp_path, workers=1, threads=16)
            closing.callback(app.stop)
            app.start()
            if runs:
                closing.callback(lambda: world.wait_for(world.engine.sync(stack.app.url)))
                world.wait_for(world.engine.sync(app.url))
            return app

        yield start
        world.heal()


def post_event(world: World, app: AppProcess, secret: str, *, livemode: bool) -> requests.Response:
    body = payload_of(world.paid_event(world.shop.add_customer(), livemode=livemode))
    return requests.post(
        f"{app.url}/api/webhook",
        data=body,
        headers={"Stripe-Signature": signature_header(body, secret)},
        timeout=10,
    )


def test_a_live_deployment_that_is_rolling_its_secret(world: World, open_app: OpenApp) -> None:
    """Either secret vouches; live payments are taken, and those of a test are left alone."""
    app = open_app(
        STRIPE_WEBHOOK_SECRET="whsec_old, whsec_new", STRIPE_SECRET_KEY="rk_live_of_a_test"
    )
    first = post_event(world, app, "whsec_old", livemode=True)
    second = post_event(world, app, "whsec_new", livemode=True)
    test = post_event(world, app, "whsec_new", livemode=False)
    foreign = post_event(world, app, "whsec_other", livemode=True)
    world.rest()

    assert [first.json()["action"], second.json()["action"]] == ["created", "created"]
    assert test.json() == {"received": True, "action": "ignored", "reason": "livemode_mismatch"}
    assert foreign.status_code == 400
    assert [order["status"] for order in world.shop.orders()] == ["completed"] * 2


def test_outside_dev_mode_nobody_but_inngest_runs_a_step(world: World, open_app: OpenApp) -> None:
    """A call without Inngest's signature is refused before any of our code."""
    app = open_app(
        INNGEST_DEV="",
        INNGEST_BASE_URL=world.engine.url,
        INNGEST_EVENT_KEY="event_key_of_a_test",
        INNGEST_SIGNING_KEY="signkey-test-" + "0" * 64,
    )
    calls = len(world.faults.calls)
    response = requests.post(
        f"{app.url}/api/inngest",
        params={"fnId": "songswipe-generate-song", "stepId": "step"},
        json={"ctx": {}, "event": {}, "events": [], "steps": {}},
        timeout=10,
    )

    assert response.status_code == 401
    assert len(world.faults.calls) == calls


def test_a_provider_that_falls_silent_is_given_up_and_asked_once_more(
    world: World, open_app: OpenApp
) -> None:
    """It may have made the song, and here it has: one more is bought, and the ledger shows it."""
    open_app(runs=True, MUSIC_READ_TIMEOUT_SECONDS="0.5")
    world.faults.add(times(1, Fault(delay_seconds=1.0), on("music")))
    paid = world.buy()

    assert world.order(paid)["status"] == "completed"
    assert world.states(paid) == ["complete"] * 3
    assert world.outcomes(paid) == ["delivered", "delivered", "delivered", "unknown"]
    unknown = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "unknown"]
    assert [row["reason"] for row in unknown] == ["read_timeout"]
    assert len(world.provider.calls) == 4
    assert world.shop.dead_letters() == []


def test_a_provider_that_is_always_silent_is_asked_twice_for_each_song(
    world: World, open_app: OpenApp
) -> None:
    open_app(runs=True, MUSIC_READ_TIMEOUT_SECONDS="0.2")
    world.faults.add(always(Fault(delay_seconds=0.6, status=503), on("music")))
    paid = world.buy()

    assert world.order(paid)["status"] == "failed"
    assert world.outcomes(paid) == ["unknown"] * 6
    assert world.reasons(paid) == ["outcome_unknown"] * 3
    assert len(world.provider.calls) == 6
    assert world.dead_letter()["retry_count"] == 1


def test_a_provider_that_cannot_be_reached_costs_nothing(world: World, open_app: OpenApp) -> None:
    """Every attempt is made, and the ledger knows that no song was."""
    open_app(runs=True, ELEVEN_LABS_BASE_URL=f"http://127.0.0.1:{free_port()}")
    paid = world.buy()

    assert world.order(paid)["status"] == "failed"
    assert world.outcomes(paid) == ["refused"] * 15
    assert world.reasons(paid) == ["connection_failed"] * 3
    assert world.dead_letter()["retry_count"] == 4
    assert world.provider.calls == []


def test_a_limit_of_orders_at_once_is_told_to_inngest(world: World, open_app: OpenApp) -> None:
    open_app(runs=True, GENERATION_CONCURRENCY="7")
    function = world.engine.functions["songswipe-generate-song"]

    assert [limit.limit for limit in function.concurrency] == [7]


@pytest.mark.parametrize("orders", [3])
def test_orders_wait_their_turn_and_all_are_completed(
    world: World, open_app: OpenApp, orders: int
) -> None:
    open_app(runs=True, GENERATION_CONCURRENCY="1")
    world.provider.compose_seconds = 0.05
    for customer in world.shop.add_customers(orders):
        world.pay(customer)
    world.rest()

    assert [order["status"] for order in world.shop.orders()] == ["completed"] * orders
    assert world.provider.concurrent_max == 3
    assert world.provider.songs_made == 3 * orders
