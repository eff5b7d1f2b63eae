"""The embedded PostgreSQL: its life as a process, and the roles and rights of a project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from supabase_world import World

from devstack.project.postgres import Postgres, PostgresError

PROJECT = Path(__file__).parents[2]
PARENT = """
import asyncio, sys, time
from pathlib import Path
from devstack.project.keys import JWT_SECRET
from devstack.project.postgres import Postgres
from devstack.project.postgrest import PostgREST

postgres = Postgres(Path(sys.argv[1]), durable=False)
postgres.start()
asyncio.run(PostgREST(postgres.dsn, JWT_SECRET).start())
print("ready", flush=True)
time.sleep(60)
"""


def processes_naming(text: str) -> list[int]:
    """Running processes whose command line or environment mentions a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in told:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_servers_end_with_whoever_started_them(tmp_path: Path, how: signal.Signals) -> None:
    mark = {"STACK_UNDER_TEST": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        env=os.environ | mark,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(processes_naming(str(tmp_path))) >= 5
        parent.send_signal(how)
    deadline = time.monotonic() + 10
    while processes_naming(str(tmp_path)):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.02)


def test_data_outlives_a_stop_and_a_second_server_is_refused(tmp_path: Path) -> None:
    first = Postgres(tmp_path / "data", durable=True)
    began = time.monotonic()
    first.start()
    assert time.monotonic() - began < 5
    try:
        with psycopg.connect(first.dsn) as connection:
            connection.execute("create table kept as select 7 as value")
        with pytest.raises(PostgresError, match="already exists"):
            Postgres(tmp_path / "data", durable=True).start()
        first.stop()
        first.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(first.dsn)
        first.start()
        with psycopg.connect(first.dsn) as connection:
            assert connection.execute("select value from kept").fetchall() == [(7,)]
    finally:
        first.stop()


def test_a_password_is_asked_for(world: World) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(world.postgres.dsn, password="guess", user="postgres")


def test_migrations_do_not_run_as_a_superuser(world: World) -> None:
    [rights] = world.sql(
        "select rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname = 'postgres'"
    )
    assert rights == (False, True, True)
    [(owner,)] = world.sql("select tableowner from pg_tables where tablename = 'notes'")
    assert owner == "postgres"


def test_roles_have_the_timeouts_of_a_project(world: World) -> None:
    rows = dict(world.sql("select rolname, rolconfig from pg_roles where rolconfig is not null"))
    assert rows["anon"] == ["statement_timeout=3s"]
    assert rows["authenticated"] == ["statement_timeout=8s"]
    assert set(rows["authenticator"]) == {"statement_timeout=8s", "lock_timeout=8s"}


def test_nothing_is_granted_to_the_api_by_default(world: World) -> None:
    for role in ("anon", "authenticated", "service_role"):
        [(granted,)] = world.sql(
            "select has_table_privilege(%s, 'public.ungranted', 'select')", role
        )
        assert not granted


@pytest.mark.parametrize(
    "statement",
    [
        "alter table storage.objects add column mine text",
        "alter table storage.objects disable row level security",
        "create index mine on storage.objects (name)",
        "create table storage.mine (id int)",
        "drop table storage.objects cascade",
        "drop function storage.filename",
        "drop schema storage cascade",
        "drop table auth.users cascade",
        "delete from storage.objects",
        "delete from storage.buckets",
        "alter table auth.users add column mine text",
        "set role supabase_admin",
        "copy storage.buckets to program 'cat'",
    ],
)
def test_what_a_project_forbids_its_owner_is_refused(world: World, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        world.sql(statement, role="postgres")


def test_what_a_project_allows_its_owner_works(world: World) -> None:
    world.sql(
        "create policy mine on storage.objects for select to anon using (false);"
        " alter policy mine on storage.objects using (true);"
        " drop policy mine on storage.objects;"
        " insert into storage.buckets (id, name) values ('mine', 'mine');"
        " update storage.buckets set public = false where id = 'mine';"
        " create trigger mine after insert on storage.objects"
        "   for each row execute function suppress_redundant_updates_trigger();"
        " drop trigger mine on storage.objects;"
        " create table public.profiles (id uuid references auth.users (id) on delete cascade);"
        " create function public.on_user() returns trigger language plpgsql as"
        "   'begin return new; end';"
        " create trigger on_user after insert on auth.users"
        "   for each row execute function public.on_user();"
        " insert into auth.users (email) values ('a@example.test');"
        " create extension if not exists citext with schema extensions;"
        " drop table public.profiles; drop trigger on_user on auth.users;",
        role="postgres",
    )


def test_the_caller_is_known_to_sql(world: World) -> None:
    claims = '{"sub": "7f3c2c9e-0000-4000-8000-000000000001", "role": "authenticated"}'
    [found] = world.sql(
        "select auth.uid()::text, auth.role(), auth.jwt() ->> 'role'"
        " from (select set_config('request.jwt.claims', %s, false)) as setting",
        claims,
    )
    assert found == ("7f3c2c9e-0000-4000-8000-000000000001", "authenticated", "authenticated")
    assert world.sql("select auth.uid(), auth.jwt()") == [(None, None)]


def test_paths_are_taken_apart_in_sql(world: World) -> None:
    [found] = world.sql(
        "select storage.foldername('u/a/b.mp3'), storage.filename('u/a/b.mp3'),"
        " storage.extension('u/a/b.mp3'), storage.foldername('b.mp3')"
    )
    assert found == (["u", "a"], "b.mp3", "mp3", [])
