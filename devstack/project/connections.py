"""A few asynchronous connections to PostgreSQL that outlive its absences."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from itertools import chain
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

Connection = psycopg.AsyncConnection[DictRow]


class Connections:
    """At most ``limit`` connections, opened when needed and kept for the next caller."""

    def __init__(self, dsn: str, limit: int = 8) -> None:
        self._dsn = dsn
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, undo: bool = False, **settings: str
    ) -> AsyncIterator[Connection]:
        """A transaction with these settings, which end with it; ``role`` is one of them.

        Two underscores in a name stand for the point in a setting's. With ``undo`` it is rolled
        back at its end. Raises psycopg.OperationalError when the database is away.
        """
        async with self._free:
            connection = await self._begin()
            try:
                await _configure(connection, settings)
                yield connection
                await connection.execute("rollback" if undo else "commit")
            except BaseException:
                await self._abandon(connection)
                raise
            self._idle.append(connection)

    async def _begin(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.execute("begin")
            except psycopg.OperationalError:
                await connection.close()  # it died while idle: the database was away
            else:
                return connection
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, row_factory=dict_row, connect_timeout=5
        )
        await connection.execute("begin")
        return connection

    async def _abandon(self, connection: Connection) -> None:
        """Undo what was begun. A connection that cannot even do that, or was cut off, is closed."""
        try:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                await connection.execute("rollback")
                self._idle.append(connection)
                return
        except psycopg.OperationalError:
            pass
        await connection.close()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()


async def _configure(connection: Connection, settings: Mapping[str, str]) -> None:
    if settings:
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        pairs = [(name.replace("__", "."), value) for name, value in settings.items()]
        await connection.execute(f"select {calls}".encode(), list(chain.from_iterable(pairs)))


async def fetch_all(connection: Connection, query: str, *values: Any) -> list[DictRow]:
    cursor = await connection.execute(query.encode(), values)
    return await cursor.fetchall()


async def fetch_one(connection: Connection, query: str, *values: Any) -> DictRow | None:
    cursor = await connection.execute(query.encode(), values)
    return await cursor.fetchone()
