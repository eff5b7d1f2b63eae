"""The calls of Storage that concern objects, as HTTP."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web
from psycopg.rows import DictRow

from devstack.faulty import FileAnswer
from devstack.project import storage_errors as errors
from devstack.project.storage_objects import StorageObjects, describe
from devstack.project.storage_request import StorageRequest, read_lifetime_seconds, read_texts
from devstack.project.storage_signing import check_signature, sign_address

_NOT_SIGNED = "Either the object does not exist or you do not have access to it"


class ObjectCalls:
    """Each method answers one kind of request; refusals are raised."""

    def __init__(self, objects: StorageObjects) -> None:
        self._objects = objects

    async def upload(self, request: StorageRequest) -> web.StreamResponse:
        """POST refuses a key in use unless ``x-upsert`` is true; PUT replaces or creates."""
        upsert = request.http.method == "PUT" or request.http.headers.get("x-upsert") == "true"
        upload = await request.upload()
        return web.json_response(
            await self._objects.put(
                request.caller, request.bucket, request.key, upload, upsert=upsert
            )
        )

    async def download(self, request: StorageRequest) -> web.StreamResponse:
        row = await self._objects.find_readable(request.caller, request.bucket, request.key)
        return self._send(request, row)

    async def download_public(self, request: StorageRequest) -> web.StreamResponse:
        row = await self._objects.find_public(request.bucket, request.key)
        return self._send(request, row)

    async def download_signed(self, request: StorageRequest) -> web.StreamResponse:
        token = request.http.query.get("token")
        if token is None:
            raise errors.invalid_parameter("querystring must have required property 'token'")
        check_signature(token, request.bucket, request.key)
        return self._send(request, await self._objects.find(None, request.bucket, request.key))

    def _send(self, request: StorageRequest, row: DictRow) -> web.StreamResponse:
        """The object's bytes, or the range of them that was asked for."""
        path = self._objects.path(row)
        if not path.is_file():
            raise errors.file_is_gone()
        headers = {
            "Content-Type": row["metadata"]["mimetype"],
            "Cache-Control": row["metadata"]["cacheControl"],
        }
        name = request.http.query.get("download")
        if name is not None:
            encoded = quote(name, safe="")
            named = f" filename={encoded}; filename*=UTF-8''{encoded};" if name else ""
            headers["Content-Disposition"] = f"attachment;{named}"
        return FileAnswer(path, headers)

    async def sign(self, request: StorageRequest) -> web.StreamResponse:
        lifetime = read_lifetime_seconds(await request.json())
        await self._objects.find(request.caller, request.bucket, request.key)
        address = sign_address(request.bucket, request.key, lifetime)
        return web.json_response({"signedURL": address})

    async def sign_many(self, request: StorageRequest) -> web.StreamResponse:
        body = await request.json()
        lifetime = read_lifetime_seconds(body)
        keys = read_texts(body, "paths")
        known = await self._objects.which_exist(request.caller, request.bucket, keys)
        return web.json_response(
            [
                {
                    "error": None if key in known else _NOT_SIGNED,
                    "path": key,
                    "signedURL": sign_address(request.bucket, key, lifetime)
                    if key in known
                    else None,
                }
                for key in keys
            ]
        )

    async def info(self, request: StorageRequest) -> web.StreamResponse:
        row = await self._objects.find(request.caller, request.bucket, request.key)
        return web.json_response(describe(row))

    async def list(self, request: StorageRequest) -> web.StreamResponse:
        found = await self._objects.list(request.caller, request.bucket, await request.json())
        return web.json_response(found)

    async def remove(self, request: StorageRequest) -> web.StreamResponse:
        keys = read_texts(await request.json(), "prefixes")
        removed = await self._objects.remove(request.caller, request.bucket, keys)
        return web.json_response(removed)
