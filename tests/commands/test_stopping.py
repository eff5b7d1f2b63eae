"""A demo that is stopped leaves nothing behind."""

from __future__ import annotations

import signal

import pytest
from run_commands import Commands, read_until


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "create-variant-records"),
        (signal.SIGTERM, "A customer pays"),
    ],
)
def test_a_signal_ends_the_demo_and_everything_it_started(
    commands: Commands, number: signal.Signals, moment: str
) -> None:
    """Ctrl-C while songs are made, SIGTERM while the stack is starting."""
    process = commands.start("demo", "--seconds-per-song", "20")
    read_until(process, moment)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert "Traceback" not in output
    assert commands.leftovers() == []
