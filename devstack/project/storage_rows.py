"""Rows of storage.buckets and storage.objects, read and written as the caller or as the owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import DictRow

from devstack.project.connections import Connection, Connections, fetch_all, fetch_one
from devstack.project.postgres import connection_as

_PUT = """
insert into storage.objects
  (bucket_id, name, version, owner_id, metadata, user_metadata)
values (%s, %s, %s, %s, %s, %s)
"""
_REPLACE = """
on conflict (bucket_id, name) do update set
  version = excluded.version, owner_id = excluded.owner_id, metadata = excluded.metadata,
  user_metadata = excluded.user_metadata, updated_at = now(), last_accessed_at = now()
"""
# Folders first, then files, as the real server's storage.search sorts them.
_LIST = """
with found as (
  select *, path_tokens[%(depth)s] as part, cardinality(path_tokens) = %(depth)s as is_file
  from storage.objects
  where bucket_id = %(bucket)s and starts_with(name, %(prefix)s)
    and starts_with(lower(path_tokens[%(depth)s]), lower(%(search)s))
)
select part as name, null as id, null::timestamptz as updated_at, null::timestamptz as created_at,
       null::timestamptz as last_accessed_at, null::jsonb as metadata, false as is_file
from found where not is_file group by part
union all
select part, id::text, updated_at, created_at, last_accessed_at, metadata, true
from found where is_file
order by is_file, {order}
limit %(limit)s offset %(offset)s
"""
SORT_COLUMNS = ("name", "updated_at", "created_at", "last_accessed_at")


@dataclass(frozen=True)
class Caller:
    """Who calls, by the claims of their token."""

    role: str
    user_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewObject:
    bucket: str
    key: str
    version: str
    owner_id: str | None
    metadata: Mapping[str, Any]
    user_metadata: Mapping[str, Any] | None


class StorageRows:
    """Everything that Storage asks of the database. ``caller`` is held to row-level security."""

    def __init__(self, dsn: str) -> None:
        self._connections = Connections(connection_as(dsn, "supabase_storage_admin"))

    async def close(self) -> None:
        await self._connections.close()

    def _as_owner(self) -> AbstractAsyncContextManager[Connection]:
        return self._connections.transaction()

    def _as_caller(
        self, caller: Caller, *, undo: bool = False
    ) -> AbstractAsyncContextManager[Connection]:
        return self._connections.transaction(
            undo=undo,
            role=caller.role,
            request__jwt__claims=json.dumps(caller.claims),
            storage__allow_delete_query="true",  # what a trigger wants to see from us alone
        )

    async def find_bucket(self, bucket: str, caller: Caller | None = None) -> DictRow | None:
        """The bucket, whoever calls; with ``caller``, only if they may see it."""
        transaction = self._as_owner() if caller is None else self._as_caller(caller)
        async with transaction as connection:
            return await fetch_one(
                connection, "select * from storage.buckets where id = %s", bucket
            )

    async def list_buckets(self, caller: Caller) -> list[DictRow]:
        async with self._as_caller(caller) as connection:
            return await fetch_all(connection, "select * from storage.buckets order by name")

    async def create_bucket(self, caller: Caller, bucket: Mapping[str, Any]) -> None:
        async with self._as_caller(caller) as connection:
            await connection.execute(
                "insert into storage.buckets"
                " (id, name, public, file_size_limit, allowed_mime_types, owner_id)"
                " values (%s, %s, %s, %s, %s, %s)",
                (
                    bucket["id"],
                    bucket["name"],
                    bucket.get("public", False),
                    bucket.get("file_size_limit"),
                    bucket.get("allowed_mime_types"),
                    caller.user_id,
                ),
            )

    async def find_object(self, caller: Caller | None, bucket: str, key: str) -> DictRow | None:
        """The object; without a caller, whatever the policies say."""
        transaction = self._as_owner() if caller is None else self._as_caller(caller)
        async with transaction as connection:
            return await fetch_one(
                connection,
                "select * from storage.objects where bucket_id = %s and name = %s",
                bucket,
                key,
            )

    async def which_exist(self, caller: Caller, bucket: str, keys: list[str]) -> set[str]:
        async with self._as_caller(caller) as connection:
            query = "select name from storage.objects where bucket_id = %s and name = any(%s)"
            return {row["name"] for row in await fetch_all(connection, query, bucket, keys)}

    async def check_may_put(self, caller: Caller, new: NewObject, *, upsert: bool) -> None:
        """Raise what putting the object would raise, without putting it."""
        async with self._as_caller(caller, undo=True) as connection:
            await _put(connection, new, upsert=upsert)

    async def put_object(self, new: NewObject, *, upsert: bool) -> tuple[str, str | None]:
        """Point the key at a new version; returns the row's id and the version it had before."""
        async with self._as_owner() as connection:
            row = await _put(connection, new, upsert=upsert)
            return str(row["id"]), row["replaced"]

    async def delete_objects(self, caller: Caller, bucket: str, keys: list[str]) -> list[DictRow]:
        """Delete those that exist and that the caller may delete; returns them."""
        async with self._as_caller(caller) as connection:
            return await fetch_all(
                connection,
                "delete from storage.objects where bucket_id = %s and name = any(%s) returning *",
                bucket,
                keys,
            )

    async def list_objects(
        self, caller: Caller, bucket: str, prefix: str, search: str, order: str, page: range
    ) -> list[DictRow]:
        """Files and folders one level below ``prefix``. ``order`` must come from SORT_COLUMNS."""
        async with self._as_caller(caller) as connection:
            cursor = await connection.execute(
                _LIST.format(order=order).encode(),
                {
                    "bucket": bucket,
                    "prefix": prefix,
                    "depth": prefix.count("/") + 1,
                    "search": search,
                    "limit": len(page),
                    "offset": page.start,
                },
            )
            return await cursor.fetchall()


async def _put(connection: Connection, new: NewObject, *, upsert: bool) -> DictRow:
    query = _PUT + (_REPLACE if upsert else "") + "returning id, old.version as replaced"
    user_metadata = None if new.user_metadata is None else json.dumps(new.user_metadata)
    row = await fetch_one(
        connection,
        query,
        new.bucket,
        new.key,
        new.version,
        new.owner_id,
        json.dumps(new.metadata),
        user_metadata,
    )
    assert row is not None  # an insert that returns nothing has raised
    return row
