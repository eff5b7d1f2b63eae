"""The migrations, as the Supabase CLI would apply them: on nothing, twice, on the old database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import devstack.project.postgres
from devstack.project.migrations import apply_migrations
from devstack.stack import MIGRATIONS, Stack

PREDECESSOR = Path(__file__).with_name("predecessor.sql")
FILES = sorted(path.name for path in MIGRATIONS.iterdir())
_numbers = itertools.count()


class Project:
    """A Supabase project's database, before any migration. ``dsn`` is that of ``postgres``."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def migrate(self) -> list[str]:
        return apply_migrations(self.dsn, MIGRATIONS)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def run(self, path: Path) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(path.read_bytes())

    def forget_history(self) -> None:
        self.rows("delete from supabase_migrations.schema_migrations")

    def columns(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select table_name, column_name, udt_name from information_schema.columns"
            " where table_schema = 'public' order by 1, 2"
        )

    def describe(self) -> list[list[tuple[Any, ...]]]:
        """Everything that a migration can make, in words."""
        return [
            self.columns(),
            self.rows(
                "select conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
                " from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2"
            ),
            self.rows("select indexdef from pg_indexes where schemaname = 'public' order by 1"),
            self.rows("select * from pg_policies order by schemaname, tablename, policyname"),
            self.rows(
                "select oid::regprocedure::text, md5(prosrc), prosecdef, proconfig, proacl::text"
                " from pg_proc where pronamespace = 'public'::regnamespace order by 1"
            ),
            self.rows(
                "select relname, relkind::text, relrowsecurity, relacl::text from pg_class"
                " where relnamespace = 'public'::regnamespace order by 1"
            ),
            self.rows(
                "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal"
                " order by 1, 2"
            ),
            self.rows(
                "select id, public, file_size_limit, allowed_mime_types from storage.buckets"
            ),
        ]


@pytest.fixture
def project(stack: Stack) -> Iterator[Project]:
    """A database of its own in the stack's cluster."""
    name = f"project_{next(_numbers)}"
    schema = Path(devstack.project.postgres.__file__).with_name("schema.sql")
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} owner postgres template template0".encode())
    with psycopg.connect(make_conninfo(stack.postgres.dsn, dbname=name)) as connection:
        connection.execute(schema.read_bytes())
    yield Project(make_conninfo(stack.postgres.dsn_as("postgres"), dbname=name))
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def old_project(project: Project) -> Project:
    """The same with the predecessor's tables and orders."""
    project.run(PREDECESSOR)
    return project


def orders(project: Project) -> dict[str, tuple[Any, ...]]:
    """Status and keeper of every old order, by the last letters of its id."""
    rows = project.rows("select id, status, duplicate_of from public.orders order by id")
    return {str(id)[-2:]: (status, keeper and str(keeper)[-2:]) for id, status, keeper in rows}


def test_they_apply_to_an_empty_project_once(project: Project) -> None:
    assert project.migrate() == FILES
    assert project.migrate() == []


def test_they_can_be_applied_twice_without_harm(project: Project) -> None:
    """On a project whose history was lost: everything stays as it was."""
    project.migrate()
    once = project.describe()
    project.forget_history()

    assert project.migrate() == FILES
    assert project.describe() == once


def test_they_apply_on_top_of_the_predecessor_s_tables(old_project: Project) -> None:
    assert old_project.migrate() == FILES
    assert old_project.rows("select count(*) from public.orders") == [(8,)]
    assert old_project.rows("select storage_path from public.song_variants") == [("old/path.mp3",)]
    assert old_project.rows("select count(*) from public.failed_jobs") == [(2,)]


def test_they_can_be_applied_twice_on_top_of_the_predecessor_s_tables_too(
    old_project: Project,
) -> None:
    old_project.migrate()
    once = old_project.describe()
    before = orders(old_project)
    old_project.forget_history()
    old_project.migrate()

    assert old_project.describe() == once
    assert orders(old_project) == before


def test_both_ways_lead_to_the_same_columns(project: Project, stack: Stack) -> None:
    """The stack's own database began empty."""
    project.run(PREDECESSOR)
    project.migrate()

    assert project.columns() == Project(stack.postgres.dsn).columns()


def test_of_old_orders_with_one_session_the_furthest_is_kept(old_project: Project) -> None:
    """The rest stay as they were, and point at it."""
    old_project.migrate()

    assert orders(old_project) == {
        "a1": ("paid", "a2"),
        "a2": ("completed", None),
        "b1": ("paid", None),
        "b2": ("paid", "b1"),
        "b3": ("paid", "b1"),
        "c1": ("completed", None),
        "d1": ("pending", None),
        "d2": ("completed", None),
    }


def test_a_session_can_have_no_second_order_from_now_on(old_project: Project) -> None:
    old_project.migrate()

    with pytest.raises(psycopg.errors.UniqueViolation):
        old_project.rows(
            "insert into public.orders (user_id, customization_id, stripe_session_id)"
            " select user_id, customization_id, stripe_session_id from public.orders"
            " where stripe_session_id = 'cs_once'"
        )


def test_a_redelivery_of_an_old_session_is_known(old_project: Project) -> None:
    old_project.migrate()
    [row] = old_project.rows(
        "select order_id, status, action, hand_over from public.record_checkout('evt_1',"
        " 'checkout.session.completed', now(), 'cs_twice', 'pi_1', 'paid', %s, %s, 799, 'usd',"
        " null, '{}')",
        "00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000002",
    )

    assert (str(row[0])[-2:], *row[1:]) == ("a2", "completed", "known", False)
    assert old_project.rows("select count(*) from public.orders") == [(8,)]


@pytest.mark.parametrize("status", ["refunded", "canceled"])
def test_the_new_states_are_allowed_on_the_old_table(old_project: Project, status: str) -> None:
    old_project.migrate()
    old_project.rows("update public.orders set status = %s", status)

    assert {row[0] for row in orders(old_project).values()} == {status}


def test_an_unknown_state_is_still_refused(old_project: Project) -> None:
    old_project.migrate()

    with pytest.raises(psycopg.errors.CheckViolation):
        old_project.rows("update public.orders set status = 'complete'")


def test_an_order_without_an_amount_is_not_booked_at_the_old_price(old_project: Project) -> None:
    old_project.migrate()
    [(amount,)] = old_project.rows(
        "insert into public.orders (user_id, customization_id) select user_id, customization_id"
        " from public.orders limit 1 returning amount"
    )

    assert amount is None


def test_the_old_policies_that_let_too_many_in_are_gone(old_project: Project) -> None:
    """Everyone read every variant; owners could change an order's state; and the Storage policies
    for the service role named no role."""
    old_project.migrate()
    policies = old_project.rows(
        "select tablename, policyname, cmd, roles::text from pg_policies"
        " where tablename in ('orders', 'song_variants', 'failed_jobs', 'objects') order by 1, 2"
    )

    assert [(table, command) for table, _, command, _ in policies] == [
        ("objects", "SELECT"),
        ("orders", "SELECT"),
        ("song_variants", "UPDATE"),
        ("song_variants", "SELECT"),
    ]
    assert {roles for *_, roles in policies} == {"{authenticated}"}
    assert old_project.rows("select public from storage.buckets where id = 'songs'") == [(False,)]


def test_nobody_keeps_rights_that_an_old_project_gives_to_everyone(
    old_project: Project, stack: Stack
) -> None:
    """On tables, views and functions, old and new, visitors and buyers may what they may on a new
    project. The shop's own two tables are the shop's business."""
    rights = """
      select role, name, may from unnest(array['anon', 'authenticated']) as role, lateral (
        select c.relname::text, p from pg_class c, unnest(array[
          'select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
          and c.relname not in ('users', 'customizations')
          and has_table_privilege(role, c.oid, p)
        union all
        select f.oid::regprocedure::text, 'execute' from pg_proc f
        where f.pronamespace = 'public'::regnamespace
          and f.proname <> 'update_updated_at_column'
          and has_function_privilege(role, f.oid, 'execute')) as granted (name, may)
      order by 1, 2, 3"""
    assert ("anon", "orders", "delete") in old_project.rows(rights)
    old_project.migrate()

    shared_song = "shared_song(uuid)"
    assert old_project.rows(rights) == [
        ("anon", shared_song, "execute"),
        ("authenticated", "orders", "select"),
        ("authenticated", shared_song, "execute"),
        ("authenticated", "song_variants", "select"),
    ]
    assert old_project.rows(rights) == Project(stack.postgres.dsn).rows(rights)


def test_policies_of_others_are_left_alone(old_project: Project) -> None:
    """The shop front's own, on its own tables and buckets."""
    old_project.rows("insert into storage.buckets (id, name) values ('avatars', 'avatars')")
    old_project.rows(
        "create policy avatars on storage.objects for select using (bucket_id = 'avatars')"
    )
    old_project.migrate()
    names = {name for (name,) in old_project.rows("select policyname from pg_policies")}

    assert {"avatars", "Users can view own profile"} <= names


def test_updated_at_is_kept_by_the_new_trigger_beside_the_old_one(old_project: Project) -> None:
    old_project.rows("alter table public.orders disable trigger user")
    old_project.rows("update public.orders set updated_at = '2026-01-01'")
    old_project.rows("alter table public.orders enable trigger user")
    old_project.migrate()
    old_project.rows("update public.orders set currency = 'usd'")

    assert old_project.rows(
        "select count(*) from public.orders where updated_at < '2026-02-01'"
    ) == [(0,)]
