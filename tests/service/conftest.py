from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import World

from devstack.stack import Stack


@pytest.fixture(scope="session")
def session_world(stack: Stack) -> World:
    return World(stack)


@pytest.fixture
def world(session_world: World) -> Iterator[World]:
    """The one stack, empty and well. Whatever the test breaks is mended behind it."""
    session_world.forget()
    yield session_world
    session_world.heal()
