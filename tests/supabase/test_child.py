"""Programs that must not outlive us, and the rights that they run with."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from devstack.child import Child, must_give_up_root, quiet_port

SHELL = "/bin/sh"


def test_the_end_and_the_words_of_a_program_are_known(tmp_path: Path) -> None:
    child = Child([SHELL, "-c", "echo out; echo err >&2; exit 3"], tmp_path / "log")
    assert child.wait(10) == 3
    assert child.log_tail() == "out\nerr"
    assert not child.running


def test_a_stopped_program_is_interrupted_and_gone(tmp_path: Path) -> None:
    script = "trap 'echo interrupted; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    child = Child([SHELL, "-c", script], tmp_path / "log")
    deadline = time.monotonic() + 10
    while "ready" not in child.log_tail() and time.monotonic() < deadline:
        pass
    assert child.running
    child.stop()
    child.stop()
    assert not child.running
    assert child.log_tail() == "ready\ninterrupted"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_stopped_program_leaves_behind_is_killed(tmp_path: Path) -> None:
    """As gunicorn leaves a worker that locked up while it was told to quit."""
    script = "trap 'exit 0' INT; sleep 60 & echo $!; while :; do sleep 0.01; done"
    child = Child([SHELL, "-c", script], tmp_path / "log")
    deadline = time.monotonic() + 10
    while not (pid := child.log_tail()) and time.monotonic() < deadline:
        pass
    left = Path("/proc", pid, "cmdline")
    while b"sleep" not in left.read_bytes()[:5] and time.monotonic() < deadline:
        pass  # forked, and not yet the program it is to become
    assert left.read_bytes() == b"sleep\x0060\x00"
    child.stop()
    while left.exists() and left.read_bytes() and time.monotonic() < deadline:
        pass
    assert not left.exists() or not left.read_bytes()


def test_a_program_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    child = Child([str(tmp_path / "none")], tmp_path / "log")
    assert child.wait(10) == 127
    assert "No such file" in child.log_tail()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not must_give_up_root(), reason="only root has rights to give up")
def test_root_gives_up_its_rights_and_still_passes_its_own_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed to others"
    closed.mkdir(mode=0o700)
    (closed / "file").touch(mode=0o600)
    script = 'grep ^Uid /proc/self/status; test -r "$1/file" && echo read'
    child = Child([SHELL, "-c", script, "sh", str(closed)], tmp_path / "log", unprivileged=True)
    assert child.wait(10) == 0
    words = child.log_tail().split()
    assert words[-1] == "read"
    assert str(os.geteuid()) not in words


def test_a_quiet_port_lies_below_those_of_outgoing_connections() -> None:
    assert 20_000 <= quiet_port() <= 32_000
