"""One stack for the whole session: real servers, started once, and only where a test needs them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

with warnings.catch_warnings():
    # The SDK declares a model in pydantic's old way, which warns once, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import inngest.flask  # noqa: F401

from devstack.stack import Options, Stack

# The same examples everywhere, however busy the machine is.
settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

TIME_SCALE = 0.02
"""Every wait of the engine is this much shorter: a retry a fiftieth of a second, a Retry-After of
twenty seconds less than half of one."""

APP_ENVIRON = {
    "PATIENCE_SECONDS": "0.3",
    "SUPABASE_TIMEOUT_SECONDS": "3",
    "MUSIC_CONNECT_TIMEOUT_SECONDS": "3",
    "MUSIC_READ_TIMEOUT_SECONDS": "8",
    "MUSIC_TOTAL_TIMEOUT_SECONDS": "8",
}
"""What tests change of the service's defaults: nobody waits out minutes here. The lease of a claim
follows from them, and with it how long a second run waits for the first."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = Options(
        retry_interval_seconds=1.0,
        time_scale=TIME_SCALE,
        song_seconds=0.3,
        run_cron=False,
        app_environ=APP_ENVIRON,
    )
    with Stack(tmp_path_factory.mktemp("stack"), options) as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fault kit takes longest. It comes first, so that nobody waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_fault_kit.py")
