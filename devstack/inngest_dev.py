"""The real Inngest dev server, started here from its program, or standing already."""

from __future__ import annotations

import os
import time
from pathlib import Path

import requests

from devstack.child import Child, quiet_port
from devstack.serving import HOST

_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_CALL_SECONDS = 5.0


class InngestDevError(Exception):
    """The dev server did not start, or the app could not register with it."""


class InngestDevServer:
    """``inngest dev`` as a child process that ends with us."""

    def __init__(self, program: str, log: Path, port: int = 0) -> None:
        self.port = port or quiet_port()
        self._program = program
        self._log = log
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self, app_url: str) -> None:
        """Starts it for an app that may not be up yet, and waits until it answers."""
        options = ("-u", f"{app_url}/api/inngest", "--no-discovery", "--port", str(self.port))
        environ = dict(os.environ)
        environ.pop("INNGEST_DEV", None)
        self._child = Child([self._program, "dev", *options], self._log, env=environ)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._child.running:
            if answers(self.url):
                return
            time.sleep(_POLL_SECONDS)
        said = self._child.log_tail()
        self.stop()
        raise InngestDevError(f"{self._program} dev did not start; it said:\n{said}")

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None


def answers(url: str) -> bool:
    """Whether a server is there, whatever it says."""
    try:
        requests.get(url, timeout=_CALL_SECONDS)
    except requests.RequestException:
        return False
    return True


def register(app_url: str, server_url: str) -> None:
    """Has the app register itself with the dev server it was told of. Raises InngestDevError."""
    try:
        response = requests.put(f"{app_url}/api/inngest", timeout=_CALL_SECONDS)
    except requests.RequestException as error:
        raise InngestDevError(f"the app did not answer: {error}") from error
    if not response.ok:
        raise InngestDevError(
            f"the app could not register with the Inngest dev server at {server_url}: "
            f"{response.status_code} {response.text[:300]}"
        )
