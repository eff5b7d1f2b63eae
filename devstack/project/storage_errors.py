"""What Supabase Storage answers when it refuses.

Almost every refusal goes out as HTTP 400 with the true status in the body, as the real server sends
it (supabase/storage, src/internal/errors/codes.ts and src/http/error-handler.ts).
"""

from __future__ import annotations

import psycopg
from aiohttp import web


class StorageError(Exception):
    """One refusal. ``error`` is the older name that the client library calls ``code``."""

    def __init__(
        self, status: int, code: str, message: str, *, error: str = "", http_status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.http_status = http_status
        self.code = code
        self.error = error or code

    def answer(self) -> web.Response:
        body = {
            "statusCode": str(self.status),
            "error": self.error,
            "message": str(self),
            "code": self.code,
        }
        return web.json_response(body, status=self.http_status)


def no_such_bucket() -> StorageError:
    return StorageError(404, "NoSuchBucket", "Bucket not found", error="Bucket not found")


def no_such_key() -> StorageError:
    return StorageError(404, "NoSuchKey", "Object not found", error="not_found")


def file_is_gone() -> StorageError:
    """The row is there and its file is not."""
    return StorageError(404, "NoSuchKey", "The resource was not found", error="Not found")


def invalid_key(key: str) -> StorageError:
    return StorageError(400, "InvalidKey", f"Invalid key: {key}")


def invalid_bucket_name() -> StorageError:
    return StorageError(400, "InvalidBucketName", "Bucket name invalid", error="Invalid Input")


def invalid_parameter(message: str) -> StorageError:
    return StorageError(400, "InvalidParameter", message)


def duplicate() -> StorageError:
    return StorageError(
        409, "ResourceAlreadyExists", "The resource already exists", error="Duplicate"
    )


def too_large() -> StorageError:
    return StorageError(
        413,
        "EntityTooLarge",
        "The object exceeded the maximum allowed size",
        error="Payload too large",
    )


def invalid_mime_type(mime_type: str) -> StorageError:
    return StorageError(
        415,
        "InvalidMimeType",
        f"mime type {mime_type} is not supported",
        error="invalid_mime_type",
    )


def access_denied(message: str) -> StorageError:
    return StorageError(403, "AccessDenied", message, error="Unauthorized")


def invalid_jwt(message: str) -> StorageError:
    return StorageError(400, "InvalidJWT", message)


def invalid_signature() -> StorageError:
    return StorageError(400, "InvalidSignature", "The url do not match the signature")


def not_offered(method: str, path: str) -> StorageError:
    """Ours alone: the real server can do more than this stand-in."""
    message = f"the embedded Storage does not offer {method} {path}"
    return StorageError(501, "NotSupported", message, http_status=501)


def from_database(error: psycopg.Error) -> StorageError:
    """PostgreSQL's refusal as the real server words it (src/storage/database/errors.ts)."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        text = str(error)
        row_level = "new row violates row-level security policy"
        return access_denied(row_level if "row-level security" in text else text)
    if isinstance(error, psycopg.errors.UniqueViolation):
        return duplicate()
    if isinstance(error, psycopg.OperationalError):
        message = "The connection to the database timed out"
        return StorageError(544, "DatabaseTimeout", message, http_status=544)
    message = f"database error, code: {error.sqlstate}"
    return StorageError(500, "DatabaseError", message, http_status=500)
