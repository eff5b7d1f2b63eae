"""Apply a folder of migrations as ``supabase db push`` does."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key,
  statements text[],
  name text
)
"""


class MigrationError(Exception):
    """A migration failed and was rolled back; the message names the file and the reason."""


def apply_migrations(dsn: str, folder: Path) -> list[str]:
    """Apply what is not in the history yet, in the order of file names, each in one transaction.

    ``dsn`` should be that of ``postgres``, who is no superuser, as on a real project. Files not
    named ``<digits>_<name>.sql`` are left alone, as the CLI does. PostgREST is told to look again.
    """
    applied: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_HISTORY)
        rows = connection.execute("select version from supabase_migrations.schema_migrations")
        known = {version for (version,) in rows}
        for path in sorted(folder.iterdir()):
            match = _NAME.match(path.name)
            if match and match[1] not in known:
                _apply(connection, path, version=match[1], name=match[2])
                applied.append(path.name)
        connection.execute("notify pgrst, 'reload schema'")
    return applied


def _apply(connection: psycopg.Connection, path: Path, *, version: str, name: str) -> None:
    statements = path.read_text(encoding="utf-8")
    connection.execute("reset all")
    try:
        with connection.transaction():
            connection.execute(statements.encode())
            connection.execute(
                "insert into supabase_migrations.schema_migrations values (%s, %s, %s)",
                (version, [statements], name),
            )
    except psycopg.Error as error:
        raise MigrationError(f"{path.name}: {error}") from error
