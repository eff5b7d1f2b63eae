"""Start and stop one aiohttp application on loopback."""

from __future__ import annotations

import socket

from aiohttp import web
from aiohttp.typedefs import Handler

HOST = "127.0.0.1"


class PortTaken(Exception):
    """The port asked for is in use; the message names the port and who wanted it."""


class LoopbackServer:
    """One aiohttp application, listening on 127.0.0.1.

    Subclasses set ``name`` and implement ``routes``. ``port`` 0 takes a free one; ``url`` is known
    once ``start`` has returned.
    """

    name = "server"
    max_body_bytes = 64 * 1024 * 1024

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def routes(self) -> list[web.AbstractRouteDef]:
        raise NotImplementedError

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=self.max_body_bytes, middlewares=[_without_caller])
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            await runner.cleanup()
            raise PortTaken(f"port {port}, wanted for {self.name}, is in use") from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@web.middleware
async def _without_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A caller who is gone is no error of ours, and nothing to print."""
    try:
        return await handler(request)
    except ConnectionResetError:
        return web.Response(status=499)  # nobody reads it


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot be given port 0."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
