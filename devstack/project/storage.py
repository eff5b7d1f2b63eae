"""Supabase Storage as supabase-py and a browser use it: objects, signed addresses, buckets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from aiohttp import web

from devstack.project import storage_errors as errors
from devstack.project.storage_bucket_calls import BucketCalls
from devstack.project.storage_errors import StorageError
from devstack.project.storage_files import StorageFiles
from devstack.project.storage_object_calls import ObjectCalls
from devstack.project.storage_objects import StorageObjects
from devstack.project.storage_request import StorageRequest
from devstack.project.storage_rows import Caller, StorageRows
from devstack.project.storage_signing import read_caller

_FIELDS = {"{bucket}": "(?P<bucket>[^/]+)", "{key}": "(?P<key>.+)"}


@dataclass(frozen=True)
class StorageCall:
    """One request, matched: what answers it, and the bucket and key in its path, if any.

    ``keyless`` ones are answered without an API key, so that a link works in a browser.
    """

    answer: Callable[[StorageRequest], Awaitable[web.StreamResponse]]
    bucket: str
    key: str
    keyless: bool


class Storage:
    """Buckets and objects: files in ``folder``, rows in the database's storage schema.

    ``dsn`` may be any login's of the embedded cluster. Offers the calls listed in ``__init__`` and
    refuses others with 501. It listens nowhere itself: a Gateway passes it requests.
    """

    def __init__(self, folder: Path, dsn: str) -> None:
        self._rows = StorageRows(dsn)
        objects = ObjectCalls(StorageObjects(self._rows, StorageFiles(folder)))
        buckets = BucketCalls(self._rows)
        # The first match wins, so "sign" and its like must come before a bucket's name.
        self._calls = [
            ("GET HEAD", _pattern("object/sign/{bucket}/{key}"), objects.download_signed, True),
            ("GET HEAD", _pattern("object/public/{bucket}/{key}"), objects.download_public, True),
            ("POST", _pattern("object/sign/{bucket}/{key}"), objects.sign, False),
            ("POST", _pattern("object/sign/{bucket}"), objects.sign_many, False),
            ("POST", _pattern("object/list/{bucket}"), objects.list, False),
            ("GET HEAD", _pattern("object/info/{bucket}/{key}"), objects.info, False),
            ("GET HEAD", _pattern("object/authenticated/{bucket}/{key}"), objects.download, False),
            ("DELETE", _pattern("object/{bucket}"), objects.remove, False),
            ("GET HEAD", _pattern("object/{bucket}/{key}"), objects.download, False),
            ("POST PUT", _pattern("object/{bucket}/{key}"), objects.upload, False),
            ("POST", _pattern("bucket"), buckets.create, False),
            ("GET", _pattern("bucket"), buckets.list, False),
            ("GET", _pattern("bucket/{bucket}"), buckets.get, False),
        ]

    async def close(self) -> None:
        """Let go of the database; a later call connects again."""
        await self._rows.close()

    def find_call(self, method: str, path: str) -> StorageCall | None:
        """What answers this method on this path below ``/storage/v1/``."""
        if re.match(r"object/(move|copy|list-v2|upload)(/|$)", path):
            return None  # the real server's own; here they would look like buckets
        for methods, pattern, answer, keyless in self._calls:
            match = pattern.fullmatch(path) if method in methods.split() else None
            if match:
                found = match.groupdict(default="")
                return StorageCall(answer, found.get("bucket", ""), found.get("key", ""), keyless)
        return None

    async def answer(
        self, request: web.Request, call: StorageCall | None, token: str
    ) -> web.StreamResponse:
        """Do what a request asks for the bearer of ``token``; a refusal is an answer too."""
        try:
            if call is None:
                raise errors.not_offered(request.method, request.path)
            caller = Caller("anon") if call.keyless else read_caller(token)
            return await call.answer(StorageRequest(request, caller, call.bucket, call.key))
        except StorageError as error:
            return error.answer()
        except psycopg.Error as error:
            return errors.from_database(error).answer()


def _pattern(path: str) -> re.Pattern[str]:
    for name, expression in _FIELDS.items():
        path = path.replace(name, expression)
    return re.compile(path)
