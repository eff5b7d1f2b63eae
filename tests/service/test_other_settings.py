"""The service with other settings: a second one beside the stack's own, against the same world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests
from world import World, on

from devstack.app_process import AppProcess
from devstack.faults import Fault, always, times
from devstack.payments.events import payload_of, signature_header
from devstack.serving import free_port
from devstack.stack import Stack

OpenApp = Callable[..., AppProcess]


@pytest.fixture(scope="module")
def open_app(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApp]:
    """Starts a service with these variables changed; it stays until the module's end."""
    with ExitStack() as closing:

        def start(**environ: str) -> AppProcess:
            folder = tmp_path_factory.mktemp("app")
            app = AppProcess(stack.app_environ() | environ, folder=folder, workers=1, threads=16)
            closing.callback(app.stop)
            app.start()
            return app

        yield start


@pytest.fixture(scope="module")
def production(open_app: OpenApp, stack: Stack) -> AppProcess:
    """Live, outside dev mode, and rolling its webhook secret."""
    return open_app(
        STRIPE_WEBHOOK_SECRET="whsec_old, whsec_new",
        STRIPE_SECRET_KEY="rk_live_of_a_test",
        INNGEST_DEV="",
        INNGEST_BASE_URL=stack.engine.url,
        INNGEST_EVENT_KEY="event_key_of_a_test",
        INNGEST_SIGNING_KEY="signkey-test-" + "0" * 64,
    )


@pytest.fixture(scope="module")
def impatient(open_app: OpenApp) -> AppProcess:
    return open_app(MUSIC_READ_TIMEOUT_SECONDS="0.4")


@contextmanager
def calls_going_to(app: AppProcess, world: World) -> Iterator[None]:
    """The engine calls this service instead of the stack's own."""
    world.wait_for(world.engine.sync(app.url))
    try:
        yield
    finally:
        world.heal()
        world.wait_for(world.engine.sync(world.stack.app.url))


def post_event(world: World, app: AppProcess, secret: str, *, livemode: bool) -> requests.Response:
    body = payload_of(world.paid_event(world.shop.add_customer(), livemode=livemode))
    return requests.post(
        f"{app.url}/api/webhook",
        data=body,
        headers={"Stripe-Signature": signature_header(body, secret)},
        timeout=10,
    )


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
def test_while_a_secret_is_rolled_either_vouches(
    world: World, production: AppProcess, secret: str
) -> None:
    response = post_event(world, production, secret, livemode=True)
    world.rest()

    assert response.json()["action"] == "created"
    assert [order["status"] for order in world.shop.orders()] == ["completed"]


def test_a_third_secret_does_not(world: World, production: AppProcess) -> None:
    assert post_event(world, production, "whsec_other", livemode=True).status_code == 400
    assert world.shop.orders() == []


def test_a_test_payment_is_not_taken_by_a_live_deployment(
    world: World, production: AppProcess
) -> None:
    response = post_event(world, production, "whsec_new", livemode=False)

    assert response.json() == {"received": True, "action": "ignored", "reason": "livemode_mismatch"}
    assert world.shop.orders() == []


def test_outside_dev_mode_nobody_but_inngest_runs_a_step(
    world: World, production: AppProcess
) -> None:
    """A call without Inngest's signature is refused before any of our code."""
    response = requests.post(
        f"{production.url}/api/inngest",
        params={"fnId": "songswipe-generate-song", "stepId": "step"},
        json={"ctx": {}, "event": {}, "events": [], "steps": {}},
        timeout=10,
    )

    assert response.status_code == 401
    assert world.faults.calls == []


def test_a_provider_that_falls_silent_is_given_up_and_asked_once_more(
    world: World, impatient: AppProcess
) -> None:
    """It may have made the song, and here it will have: one more is bought, and the ledger shows
    it."""
    world.faults.add(times(1, Fault(delay_seconds=0.8), on("music")))
    with calls_going_to(impatient, world):
        paid = world.buy()

    assert world.order(paid)["status"] == "completed"
    assert world.states(paid) == ["complete"] * 3
    assert world.outcomes(paid) == ["delivered", "delivered", "delivered", "unknown"]
    unknown = [row for row in world.shop.purchases(paid.order_id) if row["outcome"] == "unknown"]
    assert [row["reason"] for row in unknown] == ["read_timeout"]
    assert len(world.provider.calls) == 4
    assert world.shop.dead_letters() == []


def test_a_provider_that_is_always_silent_is_asked_twice_for_each_song(
    world: World, impatient: AppProcess
) -> None:
    world.faults.add(always(Fault(delay_seconds=0.8, status=503), on("music")))
    with calls_going_to(impatient, world):
        paid = world.buy()

    assert world.order(paid)["status"] == "failed"
    assert world.outcomes(paid) == ["unknown"] * 6
    assert world.reasons(paid) == ["outcome_unknown"] * 3
    assert len(world.provider.calls) == 6
    assert world.dead_letter()["retry_count"] == 1


def test_a_provider_that_cannot_be_reached_costs_nothing(world: World, open_app: OpenApp) -> None:
    """Every attempt is made, and the ledger knows that no song was."""
    app = open_app(ELEVEN_LABS_BASE_URL=f"http://127.0.0.1:{free_port()}")
    with calls_going_to(app, world):
        paid = world.buy()

    assert world.order(paid)["status"] == "failed"
    assert world.outcomes(paid) == ["refused"] * 15
    assert world.reasons(paid) == ["connection_failed"] * 3
    assert world.dead_letter()["retry_count"] == 4
    assert world.provider.calls == []


def test_orders_beyond_the_limit_wait_their_turn_and_are_completed(
    world: World, open_app: OpenApp
) -> None:
    """The limit is Inngest's to keep, so it is told."""
    app = open_app(GENERATION_CONCURRENCY="1")
    world.provider.compose_seconds = 0.05
    with calls_going_to(app, world):
        limits = world.engine.functions["songswipe-generate-song"].concurrency
        for customer in world.shop.add_customers(3):
            world.pay(customer)
        world.rest()

    assert [limit.limit for limit in limits] == [1]
    assert [order["status"] for order in world.shop.orders()] == ["completed"] * 3
    assert world.provider.concurrent_max == 3
    assert world.provider.songs_made == 9
