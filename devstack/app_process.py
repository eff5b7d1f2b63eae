"""The service itself, as it is served in production: gunicorn with the project's own settings."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from devstack.child import Child, quiet_port
from devstack.serving import HOST

PROJECT = Path(__file__).resolve().parent.parent

_START_SECONDS = 30.0
_POLL_SECONDS = 0.02


class AppError(Exception):
    """The app did not start; the message ends with what it logged."""


class AppProcess:
    """One gunicorn with its workers. ``environ`` is all that the app gets to know.

    It can be killed and started again on the same port, as after a crash.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        folder: Path,
        workers: int = 2,
        threads: int = 64,
        graceful_seconds: int = 30,
    ) -> None:
        self.environ = dict(environ)
        self.folder = folder
        self.log = folder / "app.log"
        self.port = 0
        self._pid_file = folder / "gunicorn.pid"
        self._child: Child | None = None
        self._serving = {
            "WEB_CONCURRENCY": str(workers),
            "WEB_THREADS": str(threads),
            "GRACEFUL_TIMEOUT_SECONDS": str(graceful_seconds),
        }

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, port: int = 0) -> None:
        """Starts, and waits until ``/healthz`` answers."""
        self.port = port or self.port or quiet_port()
        self._pid_file.unlink(missing_ok=True)
        self._child = Child(
            [sys.executable, "-m", "gunicorn", "wsgi:app", "--pid", str(self._pid_file)],
            self.log,
            env=self._environ(),
            folder=PROJECT,
        )
        try:
            self._wait_until_up(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it quickly, with its requests in flight. May be called twice."""
        if self._child is not None:
            self._child.stop()
            self._child.kill()  # a worker that hangs outlives its master for a while
            self._child = None

    def kill(self) -> None:
        """``kill -9``: the master and every worker, wherever they are."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def terminate(self) -> None:
        """SIGTERM, as a platform stops a service: requests in flight may finish. Does not wait."""
        os.kill(int(self._pid_file.read_text()), signal.SIGTERM)

    def wait(self, timeout_seconds: float) -> int | None:
        """Waits for its end and returns its exit status; None if it was not running."""
        if self._child is None:
            return None
        status = self._child.wait(timeout_seconds)
        self._child = None
        return status

    def _environ(self) -> dict[str, str]:
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        bind = {"BIND": f"{HOST}:{self.port}"}
        # The folder's own .env, if any, must not reach in: the environment given is all there is.
        python = {"PYTHONUNBUFFERED": "1", "PYTHON_DOTENV_DISABLED": "1"}
        return base | self._serving | bind | python | self.environ

    def _wait_until_up(self, child: Child) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and child.running:
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(_POLL_SECONDS)
        raise AppError(f"the app did not start; it said:\n{child.log_tail(20)}")
