"""One request to Storage, taken apart and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devstack.project import storage_errors as errors
from devstack.project.multipart import Part, read_parts
from devstack.project.storage_objects import Upload
from devstack.project.storage_rows import Caller


@dataclass(frozen=True)
class StorageRequest:
    """What is asked, by whom, of which bucket and key (empty where the call names none)."""

    http: web.Request
    caller: Caller
    bucket: str
    key: str

    async def json(self) -> dict[str, Any]:
        try:
            body = json.loads(await self.http.read())
        except ValueError as error:
            raise errors.invalid_parameter("body must be JSON") from error
        if not isinstance(body, dict):
            raise errors.invalid_parameter("body must be object")
        return body

    async def upload(self) -> Upload:
        """The file of a multipart form; its fields may come in any order."""
        content_type = self.http.headers.get("Content-Type", "")
        try:
            parts = {part.name: part for part in read_parts(content_type, await self.http.read())}
            file = parts["file"]
            user_metadata = json.loads(_text(parts.get("metadata")) or "null")
        except KeyError as error:
            raise errors.invalid_parameter("the form has no file") from error
        except ValueError as error:
            raise errors.invalid_parameter(f"not an upload: {error}") from error
        return Upload(
            content=file.content,
            content_type=file.content_type.split(";")[0].strip().lower(),
            cache_seconds=_text(parts.get("cacheControl")),
            user_metadata=user_metadata,
        )


def read_texts(body: dict[str, Any], name: str) -> list[str]:
    """A list of text that the body must hold."""
    values = body.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise errors.invalid_parameter(f"body/{name} must be array of string")
    return values


def read_lifetime_seconds(body: dict[str, Any]) -> int:
    """How long a signed address shall work; the client library sends the number as text."""
    try:
        seconds = int(body["expiresIn"])
    except (KeyError, TypeError, ValueError) as error:
        raise errors.invalid_parameter("body/expiresIn must be integer") from error
    if seconds < 1:
        raise errors.invalid_parameter("body/expiresIn must be >= 1")
    return seconds


def _text(part: Part | None) -> str | None:
    return None if part is None else part.content.decode()
