"""Child processes that end with us, however we end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

from devstack.serving import HOST

_GUARD = Path(__file__).with_name("guard.py")
_STOP_SECONDS = 12.0  # above the guard's own patience with the program, so that it reports first


class Child:
    """One running program. Its output goes to ``log``; ``unprivileged`` as in ``guard.py``.

    It leads a session of its own, so that Ctrl-C reaches us alone and we choose the order of stops.
    """

    def __init__(
        self,
        program: list[str],
        log: Path,
        *,
        unprivileged: bool = False,
        env: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.log = log
        self._stopped = False
        flags = ["--unprivileged"] if unprivileged else []
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), *flags, *program],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=folder,
                start_new_session=True,
            )

    def wait(self, timeout_seconds: float) -> int:
        """Wait for the program to end by itself; returns its exit status."""
        try:
            return self._guard.wait(timeout_seconds)
        finally:
            self.stop()

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def stop(self) -> None:
        """Interrupt the program and wait until it is gone. What it started and left behind is
        killed. May be called twice."""
        if self._stopped:
            return
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard.wait(_STOP_SECONDS)
        self._kill_group()
        self._stopped = True

    def kill(self) -> None:
        """Kill the program and everything that it started, at once and without a warning."""
        if not self._stopped:
            self._kill_group()
        self.stop()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that the program wrote, for the message of an error."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def must_give_up_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def quiet_port() -> int:
    """A port that is free and lies below those the system hands out to outgoing connections.

    For programs that cannot be given port 0 and that must find their port again after a pause.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
