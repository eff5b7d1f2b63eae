"""The calls of Storage that concern buckets, as HTTP."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web
from psycopg.rows import DictRow

from devstack.project import storage_errors as errors
from devstack.project.storage_request import StorageRequest
from devstack.project.storage_rows import StorageRows

_NAME = re.compile(r"[\w!\-.*'() &$@=;:+,?]{1,63}", re.ASCII)
_SHOWN = ("id", "name", "public", "type", "file_size_limit", "allowed_mime_types")


class BucketCalls:
    """Each method answers one kind of request; refusals are raised."""

    def __init__(self, rows: StorageRows) -> None:
        self._rows = rows

    async def create(self, request: StorageRequest) -> web.StreamResponse:
        bucket = await request.json()
        name = bucket.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", ".."):
            raise errors.invalid_bucket_name()
        await self._rows.create_bucket(request.caller, {"id": name} | bucket)
        return web.json_response({"name": name})

    async def list(self, request: StorageRequest) -> web.StreamResponse:
        rows = await self._rows.list_buckets(request.caller)
        return web.json_response([_describe(row) for row in rows])

    async def get(self, request: StorageRequest) -> web.StreamResponse:
        row = await self._rows.find_bucket(request.bucket, request.caller)
        if row is None:
            raise errors.no_such_bucket()
        return web.json_response(_describe(row))


def _describe(row: DictRow) -> dict[str, Any]:
    """The client library insists on a text for the owner, which a migration's bucket lacks."""
    return {name: row[name] for name in _SHOWN} | {
        "owner": row["owner_id"] or "",
        "created_at": row["created_at"].isoformat(),
        "updated_at": row["updated_at"].isoformat(),
    }
