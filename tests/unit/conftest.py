from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.music.provider import MusicProvider
from devstack.stack import EventLoopThread


@pytest.fixture(scope="session")
def session_provider() -> Iterator[MusicProvider]:
    loop = EventLoopThread()
    provider = MusicProvider(song_seconds=0.3)
    loop.run(provider.start())
    yield provider
    loop.run(provider.stop())
    loop.close()


@pytest.fixture
def provider(session_provider: MusicProvider) -> Iterator[MusicProvider]:
    """The music provider on loopback, with no faults and no calls yet."""
    session_provider.faults.clear()
    session_provider.calls.clear()
    session_provider.songs_made = 0
    session_provider.api_key = None
    yield session_provider
    session_provider.faults.clear()
