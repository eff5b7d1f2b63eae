"""A stack of its own for the folder, whose service has timeouts that a test can wait out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from recovery_world import APP_ENVIRON, RecoveryWorld

from devstack.stack import Options, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = Options(
        retry_interval_seconds=1.0,
        time_scale=0.04,
        song_seconds=0.3,
        run_cron=False,
        app_environ=APP_ENVIRON,
    )
    with Stack(tmp_path_factory.mktemp("recovery"), options) as started:
        yield started


@pytest.fixture(scope="session")
def session_world(stack: Stack) -> RecoveryWorld:
    return RecoveryWorld(stack)


@pytest.fixture
def world(session_world: RecoveryWorld) -> Iterator[RecoveryWorld]:
    """The folder's stack, empty and well. Whatever the test breaks is mended behind it."""
    session_world.forget()
    yield session_world
    session_world.heal()
