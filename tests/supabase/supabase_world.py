"""The running stack as the tests of this folder see it, and clients for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from supabase import Client, ClientOptions, create_client

from devstack.faults import FaultScript
from devstack.project.gateway import Gateway
from devstack.project.keys import ANON_KEY, SECRET_KEY, user_token
from devstack.project.postgres import Postgres
from devstack.project.postgrest import PostgREST
from devstack.project.storage import Storage


class LoopThread:
    """An event loop in a thread of its own, for the servers of the stack."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@dataclass
class World:
    """The running stack and clients for it."""

    postgres: Postgres
    postgrest: PostgREST
    storage: Storage
    gateway: Gateway
    faults: FaultScript
    folder: Path
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def client(self, key: str = SECRET_KEY, headers: dict[str, str] | None = None) -> Client:
        options = ClientOptions(httpx_client=self.http, headers=headers or {})
        return create_client(self.gateway.url, key, options)

    def buyer(self, user_id: str) -> Client:
        """The client of a signed-in user."""
        return self.client(ANON_KEY, {"Authorization": f"Bearer {user_token(user_id)}"})

    def sql(self, query: str, *values: Any, role: str = "supabase_admin") -> list[Any]:
        dsn = self.postgres.dsn_as(role)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []
