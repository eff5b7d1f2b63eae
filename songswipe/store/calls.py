"""The Supabase client, and the one place where its errors become ours.

StoreUnavailableError: the call may be repeated, and may even have happened; every write is safe to
repeat. StoreRejectedError: the database says that the request itself is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import supabase
from postgrest.exceptions import APIError
from storage3.exceptions import StorageApiError

from songswipe.errors import StoreRejectedError, StoreUnavailableError
from songswipe.models import GenerationRequest

BUCKET = "songs"

# SQLSTATE classes that another attempt cannot mend: data exception, integrity, syntax or access.
_PERMANENT_CLASSES = ("22", "23", "42")


def connect(url: str, key: str, timeout_seconds: float) -> supabase.Client:
    """A client that threads may share. Makes no network call.

    HTTP/1.1, because shared HTTP/2 connections fail in flight when the server recycles them; no
    retries of its own, because every caller here has a retry above it.
    """
    http = httpx.Client(
        timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
        limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        follow_redirects=True,
    )
    options = supabase.ClientOptions(
        httpx_client=http,
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_retry=False,
    )
    client = supabase.create_client(url, key, options)
    # Built lazily and without a lock by the library; done here before threads can race for it.
    assert client.postgrest is not None
    assert client.storage is not None
    return client


class StoreCalls:
    """A client, and how the groups of calls that inherit from this use it."""

    def __init__(self, client: supabase.Client) -> None:
        self._client = client

    def _rpc(self, name: str, params: Mapping[str, object]) -> Any:
        with our_errors():
            return self._client.rpc(name, dict(params)).execute().data

    def _rpc_row(self, name: str, params: Mapping[str, object]) -> dict[str, Any]:
        rows = self._rpc(name, params)
        # A proxy's page with status 200 arrives as text.
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            raise StoreUnavailableError("unexpected_answer")
        return rows[0]


class DuplicateObjectError(StoreRejectedError):
    code = "duplicate_object"


@contextmanager
def our_errors() -> Iterator[None]:
    """Turns what the libraries raise into ours."""
    try:
        yield
    except APIError as error:
        raise _from_postgrest(error) from None
    except StorageApiError as error:
        raise _from_storage(error) from None
    except httpx.HTTPError as error:
        # The library's own messages may carry the row they were about.
        raise StoreUnavailableError(message=f"store_unavailable: {type(error).__name__}") from None


def _from_postgrest(error: APIError) -> StoreRejectedError | StoreUnavailableError:
    code = str(error.code or "none")
    if code[:2] in _PERMANENT_CLASSES and len(code) == 5:
        return StoreRejectedError(message=f"store_rejected: {code}")
    return StoreUnavailableError(message=f"store_unavailable: {code[:16]}")


def _from_storage(error: StorageApiError) -> StoreRejectedError | StoreUnavailableError:
    status = str(error.status)
    if status == "409":
        return DuplicateObjectError()
    if status in ("404", "413", "415"):
        return StoreRejectedError(message=f"store_rejected: storage {status}")
    return StoreUnavailableError(message=f"store_unavailable: storage {status[:16]}")


def rows_of(response: Any) -> list[dict[str, Any]]:
    """The rows of an answer. Raises StoreUnavailableError if it holds something else."""
    if not isinstance(response.data, list):
        raise StoreUnavailableError("unexpected_answer")
    return response.data


def request_of(row: Mapping[str, Any]) -> GenerationRequest:
    """The order that a row of one of our functions names."""
    return GenerationRequest(row["order_id"], row["user_id"], row["customization_id"])


def storable(value: Any) -> Any:
    """The same JSON without what PostgreSQL or HTTP refuses: NUL, half a pair, 1e999."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
