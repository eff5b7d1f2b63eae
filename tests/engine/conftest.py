"""A laboratory: the engine, and a Flask app with the real SDK on a real server beside it."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import flask
import inngest
import pytest
from werkzeug.serving import BaseWSGIServer, make_server

from devstack.engine import Engine, Run

with warnings.catch_warnings():
    # The SDK declares a model in pydantic's old way, which warns once, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import inngest.flask

logging.getLogger("werkzeug").setLevel(logging.ERROR)

APP = "lab"
SIGNING_KEY = "signkey-test-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Received:
    """A call as the app received it, and what it answered."""

    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int
    answer_headers: Mapping[str, str]
    answer: Any


class App:
    """Functions, and the server that serves them. ``raw`` answers in place of the SDK."""

    def __init__(self, engine: Engine, **client_options: Any) -> None:
        options = {"is_production": False, "logger": logging.getLogger("lab-app")}
        self.client = inngest.Inngest(
            app_id=APP,
            api_base_url=engine.url,
            event_api_base_url=engine.url,
            **(options | client_options),
        )
        self.functions: list[inngest.Function[Any]] = []
        self.received: list[Received] = []
        self.raw: Callable[[flask.Request], flask.Response | None] = lambda request: None
        self.port = 0
        self._server: BaseWSGIServer | None = None

    def function(
        self, fn_id: str, event: str = "lab/go", **options: Any
    ) -> Callable[[Callable[[inngest.ContextSync], Any]], inngest.Function[Any]]:
        def decorate(handler: Callable[[inngest.ContextSync], Any]) -> inngest.Function[Any]:
            trigger = options.pop("trigger", inngest.TriggerEvent(event=event))
            create = self.client.create_function(fn_id=fn_id, trigger=trigger, **options)
            self.functions.append(create(handler))
            return self.functions[-1]

        return decorate

    def serve(self, port: int = 0) -> str:
        app = flask.Flask("lab")
        app.before_request(self._answer_raw)
        app.after_request(self._record)
        inngest.flask.serve(app, self.client, self.functions)
        self._server = make_server("127.0.0.1", port, app, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.stop()
        self.client._http_client._http_client_sync.close()

    @staticmethod
    def respond(body: str, status: int = 206) -> flask.Response:
        return flask.Response(body, status, content_type="application/json")

    def _answer_raw(self) -> flask.Response | None:
        return self.raw(flask.request) if flask.request.method == "POST" else None

    def _record(self, response: flask.Response) -> flask.Response:
        request = flask.request
        if request.method == "POST":
            self.received.append(
                Received(
                    dict(request.args),
                    dict(request.headers),
                    json.loads(request.get_data()),
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    _parsed(response.get_data(as_text=True)),
                )
            )
        return response


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Lab:
    """An engine and one app. ``go`` registers the app, sends events and waits for the end."""

    def __init__(self, engine: Engine, app: App) -> None:
        self.engine = engine
        self.app = app
        self.updates: list[tuple[str, str | None, int]] = []
        engine.listeners.append(lambda u: self.updates.append((u.kind, u.step, u.attempt)))

    async def serve(self) -> None:
        await self.engine.sync(self.app.serve(), delay_seconds=0.02)

    async def send(self, *data: Mapping[str, Any], name: str = "lab/go") -> None:
        await self.engine.send(*({"name": name, "data": dict(d)} for d in data or ({},)))

    async def go(self, *data: Mapping[str, Any], name: str = "lab/go") -> Run:
        """The first run there is, after everything has ended."""
        await self.serve()
        await self.send(*data, name=name)
        await self.engine.wait_idle(10)
        return next(iter(self.engine.runs.values()))

    def runs_of(self, fn_id: str) -> list[Run]:
        return self.engine.runs_of(f"{APP}-{fn_id}")


OpenLab = Callable[..., Awaitable[Lab]]


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here speaks TLS, and to load certificates takes the SDK longer than a test."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: bare)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened_lab(
    client: Mapping[str, Any] | None = None, **engine_options: Any
) -> AsyncIterator[Lab]:
    options = {"retry_interval_seconds": 0.0, "time_scale": 0.01, "run_cron": False}
    engine = Engine(**(options | engine_options))
    await engine.start()
    app = App(engine, **(client or {}))
    try:
        yield Lab(engine, app)
    finally:
        await engine.stop()
        app.close()


@pytest.fixture
async def open_lab(anyio_backend: str) -> AsyncIterator[OpenLab]:
    async with AsyncExitStack() as stack:

        async def enter(**options: Any) -> Lab:
            return await stack.enter_async_context(opened_lab(**options))

        yield enter


@pytest.fixture
async def lab(open_lab: OpenLab) -> Lab:
    """No backoff, and all other waits a hundred times shorter."""
    return await open_lab()
