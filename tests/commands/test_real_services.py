"""Real services step in where the environment names them.

Here a second stack plays the real ones: its Supabase, with the Auth endpoint that only a real
project has, its ElevenLabs, and an Inngest server on its own port or behind a program's name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from aiohttp import web

from devstack.demo.display import PlainDisplay
from devstack.demo.plain import PLAIN
from devstack.demo.progress import Line
from devstack.demo.scene import Scene
from devstack.engine import Engine
from devstack.parts import describe_parts
from devstack.project.gateway import Gateway
from devstack.project.keys import SECRET_KEY
from devstack.project.storage import Storage
from devstack.real_services import USUAL_DEV_SERVER, Account, RealServices, RealServicesError
from devstack.stack import MUSIC_KEY, Options, Stack

SERVER = """
import asyncio, sys
sys.path.insert(0, {project!r})
from devstack.engine import Engine

async def main():
    print(sys.argv[1:], flush=True)
    engine = Engine(run_cron=False)
    await engine.start(int(sys.argv[sys.argv.index("--port") + 1]))
    try:
        await asyncio.Event().wait()
    finally:
        await engine.stop()

asyncio.run(main())
"""
PROGRAM = """#!/bin/sh
exec '{python}' '{server}' "$@"
"""


class ProjectGateway(Gateway):
    """With the one call of Supabase Auth that makes a user."""

    def __init__(self, stack: Stack) -> None:
        storage = Storage(stack.folder / "objects", stack.postgres.dsn)
        super().__init__(postgrest_url=stack.postgrest.url, storage=storage)
        self._dsn = stack.postgres.dsn

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.post("/auth/v1/admin/users", self._create_user), *super().routes()]

    async def _create_user(self, request: web.Request) -> web.Response:
        if request.headers["apikey"] != SECRET_KEY:
            return web.json_response({"msg": "not admin"}, status=403)
        email = (await request.json())["email"]
        async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
            cursor = await connection.execute(
                "insert into auth.users (id, email) values (gen_random_uuid(), %s) returning id",
                (email,),
            )
            row = await cursor.fetchone()
        assert row is not None
        now = "2026-11-23T12:00:00Z"
        user = {"id": str(row[0]), "email": email, "aud": "authenticated", "created_at": now}
        return web.json_response(user | {"app_metadata": {}, "user_metadata": {}})


@pytest.fixture
def project(stack: Stack) -> Iterator[Account]:
    """The address of what looks like a whole Supabase project."""
    gateway = ProjectGateway(stack)
    stack.loop.run(gateway.start())
    yield Account(gateway.url, SECRET_KEY)
    stack.loop.run(gateway.stop())


@pytest.fixture
def dev_server(stack: Stack) -> Iterator[str]:
    engine = Engine(run_cron=False)
    stack.loop.run(engine.start())
    yield engine.url
    stack.loop.run(engine.stop())


def play(folder: Path, services: RealServices) -> tuple[list[Line], dict[str, str]]:
    """The plain demo's judgements, and what it says of its parts."""
    options = Options(app_workers=1, song_seconds=0.3)
    with Stack(folder / "stack", options, services=services) as started:
        seen = PLAIN.play(Scene(started, PlainDisplay(), folder / "songs"))
        return seen, dict(describe_parts(started))


def test_every_part_steps_aside_at_once(
    stack: Stack, project: Account, dev_server: str, tmp_path: Path
) -> None:
    services = RealServices(
        supabase=project,
        music=Account(stack.provider.url, MUSIC_KEY),
        inngest_url=dev_server,
    )
    seen, parts = play(tmp_path, services)

    assert [line.text for line in seen if line.mark != "done"] == []
    assert [line.text for line in seen][:2] == [
        "The order is completed.",
        "3 of 3 songs can be played.",
    ]
    assert parts["Supabase"].startswith(f"real project at {project.url}")
    assert parts["ElevenLabs"] == f"real API at {stack.provider.url}"
    assert parts["Inngest"] == f"real dev server at {dev_server}"


def test_an_inngest_program_is_started_and_stopped(
    stack: Stack, project: Account, tmp_path: Path
) -> None:
    server, program = tmp_path / "server.py", tmp_path / "inngest"
    server.write_text(SERVER.format(project=str(Path(__file__).parents[2])))
    program.write_text(PROGRAM.format(python=sys.executable, server=server))
    program.chmod(0o755)
    services = RealServices(
        supabase=project,
        music=Account(stack.provider.url, MUSIC_KEY),
        inngest_program=str(program),
    )
    seen, parts = play(tmp_path, services)
    log = (tmp_path / "stack" / "inngest.log").read_text()

    assert [line.text for line in seen if line.mark != "done"] == []
    assert parts["Inngest"] == f"real dev server, {program}"
    assert log.startswith("['dev', '-u', 'http://127.0.0.1:")
    assert "/api/inngest', '--no-discovery', '--port', '" in log


def test_the_environment_names_real_services(tmp_path: Path) -> None:
    program = tmp_path / "inngest"
    program.touch(mode=0o755)
    path = f"{tmp_path}{os.pathsep}{os.defpath}"
    account = {"ELEVEN_LABS_BASE_URL": "https://api.elevenlabs.io/", "ELEVEN_LABS_API_KEY": "k"}

    assert RealServices.from_environ({"PATH": os.defpath}) == RealServices()
    assert RealServices.from_environ({"PATH": path}).inngest_program == str(program)
    assert RealServices.from_environ({"PATH": path, "INNGEST_DEV": "0"}) == RealServices()
    assert RealServices.from_environ({"INNGEST_DEV": "1"}).inngest_url == USUAL_DEV_SERVER
    assert RealServices.from_environ(account).music == Account("https://api.elevenlabs.io", "k")


def test_what_is_real_is_named_before_it_is_used() -> None:
    environ = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "secret"}
    services = RealServices.from_environ(environ | {"INNGEST_DEV": "1"})

    assert services.named() == [
        "Supabase at https://x.supabase.co",
        f"Inngest dev server, {USUAL_DEV_SERVER}",
    ]
    assert RealServices().named() == []


def test_a_key_alone_changes_nothing() -> None:
    environ = {"ELEVEN_LABS_API_KEY": "k", "SUPABASE_SERVICE_ROLE_KEY": "k", "INNGEST_DEV": "0"}

    assert RealServices.from_environ(environ) == RealServices()


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"SUPABASE_URL": "https://x.supabase.co"}, "SUPABASE_SERVICE_ROLE_KEY"),
        ({"ELEVEN_LABS_BASE_URL": "https://api.elevenlabs.io"}, "ELEVEN_LABS_API_KEY"),
        ({"INNGEST_CLI": "/nowhere/inngest"}, "/nowhere/inngest"),
    ],
)
def test_half_a_service_is_refused(environ: dict[str, str], named: str) -> None:
    with pytest.raises(RealServicesError, match=named):
        RealServices.from_environ(environ)
