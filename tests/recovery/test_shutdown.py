"""SIGTERM, as a platform stops a service: what runs may finish, and nothing new is let in."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recovery_world import DEADLINE_SECONDS, RecoveryWorld
from world import Paid

from devstack.app_process import AppProcess
from devstack.serving import HOST

COMPOSE_SECONDS = 1.4
AT_ONCE_SECONDS = 1.0


def order_being_made(world: RecoveryWorld, compose_seconds: float) -> Paid:
    world.provider.compose_seconds = compose_seconds
    paid = world.pay()
    world.eventually(lambda: len(world.provider.calls) == 3, "three calls")
    # Calls that are under way go on; the next ones wait until the service is back.
    world.engine.away = True
    return paid


def is_refused(app: AppProcess) -> bool:
    try:
        socket.create_connection((HOST, app.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_songs_that_are_being_made_are_finished(world: RecoveryWorld) -> None:
    paid = order_being_made(world, COMPOSE_SECONDS)
    began = time.monotonic()
    world.stack.app.terminate()
    status = world.stack.app.wait(20)
    took = time.monotonic() - began

    assert status == 0
    assert took < COMPOSE_SECONDS + 5
    assert world.states(paid) == ["complete"] * 3
    assert world.provider.songs_made == 3
    world.restart()
    world.engine.away = False
    world.rest()
    assert world.the_run().status == "completed"
    assert len(world.provider.calls) == 3
    world.assert_delivered(paid)


def test_new_connections_are_refused_at_once(world: RecoveryWorld) -> None:
    """While the songs are still being made. What Stripe wanted to send it will send again."""
    paid = order_being_made(world, COMPOSE_SECONDS)
    app = world.stack.app
    began = time.monotonic()
    app.terminate()
    world.eventually(lambda: is_refused(app), "the port is closed")
    refused_after, songs_made = time.monotonic() - began, world.provider.songs_made

    assert refused_after < AT_ONCE_SECONDS
    assert songs_made == 0
    assert app.wait(20) == 0
    assert world.states(paid) == ["complete"] * 3


@pytest.fixture
def impatient_app(world: RecoveryWorld, tmp_path: Path) -> Iterator[AppProcess]:
    """The service in the place of the stack's own, with a grace period of one second."""
    own = world.stack.app
    own.stop()
    app = AppProcess(own.environ, folder=tmp_path, graceful_seconds=1)
    try:
        app.start(own.port)
        yield app
    finally:
        app.stop()


def test_songs_that_take_longer_than_the_grace_period_are_resumed(
    world: RecoveryWorld, impatient_app: AppProcess
) -> None:
    """The platform waits no longer: each song is bought once more, and the ledger says why."""
    paid = order_being_made(world, COMPOSE_SECONDS)
    began = time.monotonic()
    impatient_app.terminate()
    status = impatient_app.wait(10)
    took = time.monotonic() - began

    assert status == 0
    assert took < 4
    assert "complete" not in world.states(paid)
    world.restart()
    world.provider.compose_seconds = 0.0
    world.let_pass(DEADLINE_SECONDS)
    world.engine.away = False
    world.rest()
    assert world.the_run().status == "completed"
    assert world.outcomes(paid) == ["delivered"] * 3 + ["unknown"] * 3
    world.assert_delivered(paid, songs_made=6)
