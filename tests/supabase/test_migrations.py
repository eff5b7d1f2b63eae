"""Migrations are applied as the Supabase CLI applies them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from supabase_world import World

from devstack.project.migrations import MigrationError


@pytest.fixture
def migrations(world: World, tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    world.sql("drop table if exists public.first, public.second")
    world.sql("delete from supabase_migrations.schema_migrations where version like '2027%'")


def write(folder: Path, name: str, statements: str) -> None:
    (folder / name).write_text(statements)


def test_each_is_applied_once_in_the_order_of_names(world: World, migrations: Path) -> None:
    write(migrations, "20270102000000_b.sql", "alter table first add column b int default 5")
    write(migrations, "20270101000000_a.sql", "create table first (id int); select '100 %s'")
    write(migrations, "notes.sql", "this is not SQL")
    assert world.postgres.migrate(migrations) == ["20270101000000_a.sql", "20270102000000_b.sql"]
    assert world.postgres.migrate(migrations) == []
    write(migrations, "20270103000000_c.sql", "insert into first (id) values (1)")
    assert world.postgres.migrate(migrations) == ["20270103000000_c.sql"]
    assert world.sql("select id, b from first") == [(1, 5)]
    history = world.sql(
        "select version, name, statements[1] from supabase_migrations.schema_migrations"
        " where version like '2027%' order by version"
    )
    assert [(version, name) for version, name, _ in history] == [
        ("20270101000000", "a"),
        ("20270102000000", "b"),
        ("20270103000000", "c"),
    ]
    assert history[2][2] == "insert into first (id) values (1)"


def test_a_failing_one_is_undone_whole_and_named(world: World, migrations: Path) -> None:
    write(migrations, "20270101000000_a.sql", "create table first (id int)")
    write(migrations, "20270102000000_b.sql", "create table second (id int); select * from nowhere")
    with pytest.raises(MigrationError, match=r'20270102000000_b\.sql: relation "nowhere"'):
        world.postgres.migrate(migrations)
    assert world.sql("select to_regclass('first')::text, to_regclass('second')::text") == [
        ("first", None)
    ]
    write(migrations, "20270102000000_b.sql", "create table second (id int)")
    assert world.postgres.migrate(migrations) == ["20270102000000_b.sql"]


def test_what_one_sets_does_not_reach_the_next(world: World, migrations: Path) -> None:
    write(migrations, "20270101000000_a.sql", "set search_path = pg_catalog")
    write(migrations, "20270102000000_b.sql", "create table first (id int)")
    world.postgres.migrate(migrations)
    assert world.sql("select to_regclass('public.first')::text") == [("first",)]


def test_the_api_sees_what_was_migrated(world: World, migrations: Path) -> None:
    statements = "create table first (id int); grant all on first to service_role"
    write(migrations, "20270101000000_a.sql", statements)
    world.postgres.migrate(migrations)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # PostgREST reads the schema again when it hears of it
        answer = world.http.post(
            f"{world.gateway.url}/rest/v1/first",
            headers=dict(world.client().options.headers),
            json={"id": 1},
        )
        if answer.status_code == 201:
            break
    assert answer.status_code == 201
