"""One embedded Supabase for the folder: real PostgreSQL, real PostgREST, gateway, Storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from supabase_world import LoopThread, World

from devstack.faults import FaultScript
from devstack.project.gateway import Gateway
from devstack.project.keys import JWT_SECRET
from devstack.project.postgres import Postgres
from devstack.project.postgrest import PostgREST
from devstack.project.storage import Storage

MIGRATION = """
create table public.notes (
  id bigint generated always as identity primary key,
  owner uuid,
  body text not null unique
);
alter table public.notes enable row level security;
grant select, insert, update, delete on public.notes to service_role;
grant select on public.notes to authenticated;
create policy "own notes" on public.notes for select to authenticated using (owner = auth.uid());

create table public.ungranted (id bigint primary key);

create function public.add_note(p_body text) returns setof public.notes language sql as $$
  insert into public.notes (body) values (p_body) returning *
$$;

insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
  ('songs', 'songs', false, 100000, '{audio/mpeg}'),
  ('covers', 'covers', true, null, '{image/*}') on conflict do nothing;
create policy "own songs" on storage.objects for select to authenticated
  using (bucket_id = 'songs' and (storage.foldername(name))[1] = auth.uid()::text);
"""


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("a folder with spaces")
    migrations = folder / "migrations"
    migrations.mkdir()
    (migrations / "20260101000000_notes.sql").write_text(MIGRATION)
    thread = LoopThread()
    postgres = Postgres(folder / "postgres", durable=False)
    try:
        postgres.start()
        postgres.migrate(migrations)
        postgrest = PostgREST(postgres.dsn, JWT_SECRET)
        thread.run(postgrest.start())
        faults = FaultScript()
        storage = Storage(folder / "objects", postgres.dsn)
        gateway = Gateway(postgrest_url=postgrest.url, storage=storage, faults=faults)
        thread.run(gateway.start())
        world = World(postgres, postgrest, storage, gateway, faults, folder, thread.run)
        yield world
        world.http.close()
        thread.run(gateway.stop())
        thread.run(postgrest.stop())
    finally:
        postgres.stop()
        thread.close()


@pytest.fixture
def world(running: World) -> Iterator[World]:
    """The stack with an empty fault script."""
    running.faults.clear()
    yield running
    running.faults.clear()


@pytest.fixture
def folder_name() -> str:
    """A folder of the test's own within a bucket, which is also a user's id."""
    return str(uuid.uuid4())
