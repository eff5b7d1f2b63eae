"""The shop's side of the database: customers who described a song, and what became of it.

Reads and writes SQL directly, past the service and past PostgREST, so that what it reports is what
is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

SAMPLE_CUSTOMIZATION: Mapping[str, Any] = {
    "recipient_name": "my sister",
    "your_name": "your brother",
    "occasion": "birthday",
    "song_length": 60,
    "mood": ["happy", "nostalgic"],
    "genre": "acoustic",
    "special_memories": "The summer at the lake, and the boat that would not start.",
    "things_to_avoid": "Anything about work.",
    "prompt": "",
}


@dataclass(frozen=True)
class Customer:
    """A user and the customization they are about to pay for."""

    user_id: str
    customization_id: str


class ProjectError(Exception):
    """A real Supabase project refused, or could not be reached; the message says what it said."""


class Books(Protocol):
    """What a demo needs of a shop, embedded or in a real project."""

    def add_customer(self, **customization: Any) -> Customer: ...

    def order_of_session(self, session_id: str) -> Row | None: ...

    def variants(self, order_id: object) -> list[Row]: ...

    def purchases(self, order_id: object) -> list[Row]: ...

    def dead_letters_of(self, order_id: object) -> list[Row]: ...

    def close(self) -> None: ...


class Shop:
    """``dsn`` is the database's superuser. Every call opens a connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def add_customer(self, **customization: Any) -> Customer:
        """A new user with one customization; arguments replace the sample's columns."""
        return self.add_customers(1, **customization)[0]

    def add_customers(self, number: int, **customization: Any) -> list[Customer]:
        customers = [Customer(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(number)]
        columns = {**SAMPLE_CUSTOMIZATION, **customization}
        users = [(customer.user_id, f"{customer.user_id}@example.test") for customer in customers]
        rows = [
            (customer.customization_id, customer.user_id, *columns.values())
            for customer in customers
        ]
        names = ", ".join(("id", "user_id", *columns))
        places = ", ".join(["%s"] * (len(columns) + 2))
        with psycopg.connect(self._dsn) as connection, connection.cursor() as cursor:
            cursor.executemany("insert into auth.users (id, email) values (%s, %s)", users)
            cursor.executemany("insert into public.users (id, email) values (%s, %s)", users)
            cursor.executemany(
                f"insert into public.customizations ({names}) values ({places})".encode(), rows
            )
        return customers

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """The rows of any statement, as dictionaries."""
        with psycopg.connect(self._dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def orders(self) -> list[Row]:
        return self.rows("select * from public.orders order by created_at, id")

    def order_of_session(self, session_id: str) -> Row | None:
        rows = self.rows("select * from public.orders where stripe_session_id = %s", session_id)
        return rows[0] if rows else None

    def variants(self, order_id: object) -> list[Row]:
        return self.rows(
            "select * from public.song_variants where order_id = %s order by variant_number",
            order_id,
        )

    def purchases(self, order_id: object) -> list[Row]:
        return self.rows(
            "select * from public.purchases where order_id = %s order by variant_number, number",
            order_id,
        )

    def dead_letters(self) -> list[Row]:
        return self.rows("select * from public.failed_jobs order by failed_at, id")

    def dead_letters_of(self, order_id: object) -> list[Row]:
        return self.rows(
            "select * from public.failed_jobs where order_id = %s order by failed_at", order_id
        )

    def close(self) -> None:
        """Nothing stays open between calls."""

    def empty(self) -> None:
        """Forget every order, customer and event, for the next test."""
        self.rows(
            "truncate auth.users, public.users, public.customizations, public.orders,"
            " public.song_variants, public.failed_jobs, public.purchases, public.variant_claims,"
            " public.undelivered_audio, public.stripe_events cascade"
        )
