"""What Storage does with objects: put, find, list and remove them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import DictRow

from devstack.project import storage_errors as errors
from devstack.project.storage_files import StorageFiles
from devstack.project.storage_rows import SORT_COLUMNS, Caller, NewObject, StorageRows

_KEY = re.compile(r"[\w/!\-.*'() &$@=;:+,?]+", re.ASCII)
_SEGMENT_BYTES = 255  # of a file's name
_SIZE_LIMIT_BYTES = 50 * 1024 * 1024  # a project's own; a bucket may set a lower one


@dataclass(frozen=True)
class Upload:
    """One file as it arrived. ``cache_seconds`` is text, as the form carries it."""

    content: bytes
    content_type: str
    cache_seconds: str | None
    user_metadata: Mapping[str, Any] | None

    def metadata(self) -> dict[str, Any]:
        """What the real server keeps in storage.objects.metadata."""
        return {
            "eTag": f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"',
            "size": len(self.content),
            "mimetype": self.content_type,
            "cacheControl": f"max-age={self.cache_seconds}" if self.cache_seconds else "no-cache",
            "lastModified": datetime.now(UTC).isoformat(),
            "contentLength": len(self.content),
            "httpStatusCode": 200,
        }


class StorageObjects:
    """Objects as rows and files. Methods raise StorageError, or what psycopg raises."""

    def __init__(self, rows: StorageRows, files: StorageFiles) -> None:
        self._rows = rows
        self._files = files

    async def put(
        self, caller: Caller, bucket_id: str, key: str, upload: Upload, *, upsert: bool
    ) -> dict[str, str]:
        """Store an upload: the file first, and then the row that makes it visible."""
        check_key(key)
        bucket = await self._rows.find_bucket(bucket_id)
        if bucket is None:
            raise errors.no_such_bucket()
        _check_type(upload.content_type, bucket["allowed_mime_types"])
        new = NewObject(
            bucket=bucket_id,
            key=key,
            version=str(uuid4()),
            owner_id=caller.user_id,
            metadata=upload.metadata(),
            user_metadata=upload.user_metadata,
        )
        await self._rows.check_may_put(caller, new, upsert=upsert)
        if len(upload.content) > min(bucket["file_size_limit"] or 1 << 62, _SIZE_LIMIT_BYTES):
            raise errors.too_large()
        object_id = await self._store(new, upload.content, upsert=upsert)
        return {"Id": object_id, "Key": f"{bucket_id}/{key}"}

    async def _store(self, new: NewObject, content: bytes, *, upsert: bool) -> str:
        await asyncio.to_thread(self._files.write, new.bucket, new.key, new.version, content)
        try:
            object_id, replaced = await self._rows.put_object(new, upsert=upsert)
        except psycopg.OperationalError:
            raise  # the row may be there all the same, so the file must stay
        except psycopg.Error:
            self._files.remove(new.bucket, new.key, new.version)
            raise
        if replaced is not None:
            self._files.remove(new.bucket, new.key, replaced)
        return object_id

    async def find(self, caller: Caller | None, bucket_id: str, key: str) -> DictRow:
        """The object's row; without a caller, whatever the policies say."""
        check_key(key)
        if await self._rows.find_bucket(bucket_id) is None:
            raise errors.no_such_bucket()
        row = await self._rows.find_object(caller, bucket_id, key)
        if row is None:
            raise errors.no_such_key()
        return row

    async def which_exist(self, caller: Caller, bucket_id: str, keys: list[str]) -> set[str]:
        """Those of the keys that hold an object which the caller may see."""
        return await self._rows.which_exist(caller, bucket_id, keys)

    async def find_public(self, bucket_id: str, key: str) -> DictRow:
        bucket = await self._rows.find_bucket(bucket_id)
        if bucket is None or not bucket["public"]:
            raise errors.no_such_bucket()
        return await self.find(None, bucket_id, key)

    async def find_readable(self, caller: Caller, bucket_id: str, key: str) -> DictRow:
        """The object, if the caller may read it: a public bucket's may be read by everyone."""
        bucket = await self._rows.find_bucket(bucket_id)
        public = bucket is not None and bucket["public"]
        return await self.find(None if public else caller, bucket_id, key)

    def path(self, row: DictRow) -> Path:
        """The file that holds the object's bytes."""
        return self._files.path(row["bucket_id"], row["name"], row["version"])

    async def remove(self, caller: Caller, bucket_id: str, keys: list[str]) -> list[dict[str, Any]]:
        """Remove those that exist and that the caller may remove; says which."""
        rows = await self._rows.delete_objects(caller, bucket_id, keys)
        for row in rows:
            self._files.remove(row["bucket_id"], row["name"], row["version"])
        return [_as_json(row) for row in rows]

    async def list(
        self, caller: Caller, bucket_id: str, request: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Files and folders one level below the prefix asked for."""
        prefix = str(request.get("prefix") or "")
        sort = request.get("sortBy") or {}
        column, direction = sort.get("column", "name"), sort.get("order", "asc")
        if column not in SORT_COLUMNS or direction not in ("asc", "desc"):
            raise errors.invalid_parameter("body/sortBy is not one of the columns and orders")
        offset, limit = int(request.get("offset", 0)), int(request.get("limit", 100))
        rows = await self._rows.list_objects(
            caller,
            bucket_id,
            prefix=prefix if not prefix or prefix.endswith("/") else prefix + "/",
            search=str(request.get("search") or ""),
            order=f"{column} {direction}",
            page=range(offset, offset + limit),
        )
        shown = ("name", "id", "updated_at", "created_at", "last_accessed_at", "metadata")
        return [_as_json({name: row[name] for name in shown}) for row in rows]


def check_key(key: str) -> None:
    """Refuse what S3 or a folder cannot hold; dots alone would lead out of the folder."""
    segments = key.split("/")
    too_long = any(len(segment) > _SEGMENT_BYTES for segment in segments)
    if not _KEY.fullmatch(key) or "." in segments or ".." in segments or too_long:
        raise errors.invalid_key(key)


def describe(row: DictRow) -> dict[str, Any]:
    """An object as ``info`` answers it."""
    metadata = row["metadata"] or {}
    shown = {name: row[name] for name in ("id", "name", "version", "bucket_id", "created_at")}
    return _as_json(
        shown
        | {
            "size": metadata.get("size"),
            "content_type": metadata.get("mimetype"),
            "cache_control": metadata.get("cacheControl"),
            "etag": metadata.get("eTag"),
            "metadata": row["user_metadata"],
            "last_modified": row["updated_at"],
        }
    )


def _check_type(content_type: str, allowed: list[str] | None) -> None:
    """A bucket allows types by name or by family: ``audio/mpeg``, ``audio/*``."""
    family = content_type.split("/")[0] + "/*"
    if allowed and content_type not in allowed and family not in allowed:
        raise errors.invalid_mime_type(content_type)


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, int, bool, dict, list, type(None))
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else value
        if isinstance(value, plain)
        else str(value)
        for name, value in row.items()
    }
