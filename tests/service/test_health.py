"""``/healthz`` and ``/readyz``, for whoever keeps the service running."""

from __future__ import annotations

import requests
from world import World, on

from devstack.faults import Fault, always


def get(world: World, path: str) -> requests.Response:
    return requests.get(f"{world.stack.app.url}{path}", timeout=10)


def test_a_healthy_service_is_up_and_ready(world: World) -> None:
    up, ready = get(world, "/healthz"), get(world, "/readyz")

    assert (up.status_code, up.json()) == (200, {"status": "up"})
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "database": "reachable"},
    )


def test_a_process_is_up_although_the_database_is_away(world: World) -> None:
    """And it says what it is not ready for."""
    world.faults.add(always(Fault(status=503), on("rest")))
    up, ready = get(world, "/healthz"), get(world, "/readyz")

    assert up.status_code == 200
    assert ready.status_code == 503
    assert ready.json() == {"status": "not_ready", "database": "store_unavailable: 503"}


def test_readiness_is_told_in_time_when_the_database_hangs(world: World) -> None:
    world.faults.add(always(Fault(delay_seconds=4), on("rest")))
    ready = get(world, "/readyz")

    assert ready.status_code == 503
    assert ready.elapsed.total_seconds() < 3
    assert ready.json()["status"] == "not_ready"


def test_neither_asks_the_provider_or_stores_anything(world: World) -> None:
    get(world, "/healthz")
    get(world, "/readyz")

    assert world.provider.calls == []
    assert [(call.service, call.method) for call in world.faults.calls] == [("rest", "GET")]
