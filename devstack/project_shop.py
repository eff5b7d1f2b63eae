"""The shop's side of a real Supabase project, through the project's own API."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import httpx
import supabase
from postgrest.exceptions import APIError
from supabase_auth.errors import AuthError

from devstack.shop import SAMPLE_CUSTOMIZATION, Customer, ProjectError, Row

_TIMEOUT_SECONDS = 20

P = ParamSpec("P")
T = TypeVar("T")


def _our_error(call: Callable[P, T]) -> Callable[P, T]:
    @wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except (APIError, AuthError, httpx.HTTPError) as error:
            raise ProjectError(f"the Supabase project: {error}") from error

    return wrapped


class ProjectShop:
    """Makes customers in a real project and reads what became of their orders.

    ``key`` is the project's secret or service role key. What it makes stays there: users whose
    address ends in @example.test, with their orders and songs. Everything raises ProjectError.
    """

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(timeout=_TIMEOUT_SECONDS)
        options = supabase.ClientOptions(httpx_client=self._http, auto_refresh_token=False)
        self._client = supabase.create_client(url, key, options)

    @_our_error
    def add_customer(self, **customization: Any) -> Customer:
        """A new user with one customization; arguments replace the sample's columns."""
        email = f"songswipe-{uuid.uuid4()}@example.test"
        created = self._client.auth.admin.create_user({"email": email, "email_confirm": True})
        user_id = created.user.id
        # A project may have a trigger that makes this row by itself.
        self._client.table("users").upsert({"id": user_id, "email": email}).execute()
        columns = {**SAMPLE_CUSTOMIZATION, **customization, "user_id": user_id}
        row = self._client.table("customizations").insert(columns).execute().data[0]
        return Customer(user_id, _mapping(row)["id"])

    def order_of_session(self, session_id: str) -> Row | None:
        rows = self._rows("orders", "created_at", stripe_session_id=session_id)
        return rows[0] if rows else None

    def variants(self, order_id: object) -> list[Row]:
        return self._rows("song_variants", "variant_number", order_id=order_id)

    def purchases(self, order_id: object) -> list[Row]:
        return self._rows("purchases", "opened_at", order_id=order_id)

    def dead_letters_of(self, order_id: object) -> list[Row]:
        return self._rows("failed_jobs", "failed_at", order_id=order_id)

    def close(self) -> None:
        self._http.close()

    @_our_error
    def _rows(self, table: str, sorted_by: str, **equal: object) -> list[Row]:
        query = self._client.table(table).select("*")
        for column, value in equal.items():
            query = query.eq(column, str(value))
        return [dict(_mapping(row)) for row in query.order(sorted_by).execute().data]


def _mapping(row: Any) -> Mapping[str, Any]:
    assert isinstance(row, Mapping)
    return row
