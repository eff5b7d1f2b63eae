from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_commands import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.end_all()
