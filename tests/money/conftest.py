from __future__ import annotations

from collections.abc import Iterator

import pytest
from money_world import MoneyWorld

from devstack.stack import Options, Stack

REFUNDING_ENVIRON = {
    "AUTO_REFUND": "true",
    "STRIPE_RECONCILE_CRON": "3 */6 * * *",
    "PATIENCE_SECONDS": "0.3",
    "SUPABASE_TIMEOUT_SECONDS": "3",
    "MUSIC_CONNECT_TIMEOUT_SECONDS": "3",
    "MUSIC_READ_TIMEOUT_SECONDS": "8",
    "MUSIC_TOTAL_TIMEOUT_SECONDS": "8",
    "MAX_REDRIVES": "1",
}
"""The timeouts are those of the tests' common stack."""


@pytest.fixture(scope="session")
def session_world(stack: Stack) -> Iterator[MoneyWorld]:
    world = MoneyWorld(stack)
    yield world
    world.close()


@pytest.fixture
def world(session_world: MoneyWorld) -> Iterator[MoneyWorld]:
    """The one stack, empty and well. Whatever the test breaks is mended behind it."""
    session_world.forget()
    yield session_world
    session_world.heal()


@pytest.fixture(scope="session")
def refunding_world_of_session(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MoneyWorld]:
    options = Options(
        retry_interval_seconds=1.0,
        time_scale=0.02,
        song_seconds=0.3,
        run_cron=False,
        app_environ=REFUNDING_ENVIRON,
    )
    with Stack(tmp_path_factory.mktemp("refunding"), options) as started:
        world = MoneyWorld(started)
        yield world
        world.close()


@pytest.fixture
def refunding_world(refunding_world_of_session: MoneyWorld) -> Iterator[MoneyWorld]:
    """A stack of its own whose service has AUTO_REFUND on."""
    refunding_world_of_session.forget()
    yield refunding_world_of_session
    refunding_world_of_session.heal()
