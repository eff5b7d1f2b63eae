"""The whole outside world and the app in it, started in the right order and stopped in reverse.

``Stack`` has a plain, blocking face: the servers live on an event loop in a thread of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from devstack.app_process import PROJECT, AppError, AppProcess
from devstack.child import quiet_port
from devstack.engine import Engine, SyncError
from devstack.faults import FaultScript
from devstack.inngest_dev import InngestDevError, InngestDevServer, register
from devstack.loop_thread import EventLoopThread
from devstack.music.provider import MusicProvider
from devstack.payments.api import StripeAPI
from devstack.payments.sender import StripeSender
from devstack.project.gateway import Gateway
from devstack.project.keys import JWT_SECRET, SECRET_KEY
from devstack.project.migrations import MigrationError
from devstack.project.postgres import Postgres, PostgresError
from devstack.project.postgrest import PostgREST, PostgRESTError, PostgRESTMissing
from devstack.project.storage import Storage
from devstack.real_services import Account, RealServices, RealServicesError
from devstack.serving import HOST, PortTaken
from devstack.shop import Books, Shop

WEBHOOK_SECRET = "whsec_embedded_stack"
MUSIC_KEY = "embedded-stack"
STRIPE_KEY = "sk_test_embedded"
MIGRATIONS = PROJECT / "supabase" / "migrations"


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    app: int = 0
    supabase: int = 0
    database: int = 0
    inngest: int = 0


@dataclass(frozen=True)
class Options:
    """How the world behaves. Times are seconds."""

    durable: bool = False
    retry_interval_seconds: float | None = None
    time_scale: float = 1.0
    compose_seconds: float = 0.0
    song_seconds: float = 3.0
    run_cron: bool = True
    app_workers: int = 2
    app_threads: int = 64
    app_graceful_seconds: int = 30
    app_environ: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """Use it as a context manager. Leaves no process behind, however it ends.

    ``folder`` holds the database, the objects and the logs; whoever names it keeps or removes it.
    ``services`` replace our own parts. The attributes of a part that is replaced do not exist:
    ``postgres``, ``postgrest``, ``storage``, ``gateway`` and ``shop`` where the Supabase project is
    real, ``engine``, ``provider`` or ``stripe_api`` where those are. ``supabase``, ``books``,
    ``music``, ``stripe`` and ``inngest_url`` exist always.
    """

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        ports: Ports | None = None,
        services: RealServices | None = None,
    ) -> None:
        self.folder = folder
        self.options = options or Options()
        self.ports = ports or Ports()
        self.services = services or RealServices()
        self.books: Books
        self.faults = FaultScript()
        self._closing = ExitStack()

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.loop = EventLoopThread()
        self._closing.callback(self.loop.close)
        self._app_port = self.ports.app or quiet_port()
        self._provide_supabase()
        self._provide_music()
        self._provide_stripe()
        self._provide_inngest()
        # Closed after the app: gunicorn can lock up if connections end while it is told to quit.
        webhook_url = f"http://{HOST}:{self._app_port}/api/webhook"
        self.sender = StripeSender(webhook_url=webhook_url, secret=WEBHOOK_SECRET)
        self._closing.callback(lambda: self.loop.run(self.sender.close()))
        self._start_app()

    def _provide_supabase(self) -> None:
        if self.services.supabase is not None:
            # The client takes half a second to import, and only a real project needs it here.
            from devstack.project_shop import ProjectShop

            self.supabase = self.services.supabase
            self.books = ProjectShop(self.supabase.url, self.supabase.key)
            self._closing.callback(self.books.close)
            return
        self._start_supabase()
        self.supabase = Account(self.gateway.url, SECRET_KEY)
        self.books = self.shop

    def _provide_music(self) -> None:
        if self.services.music is not None:
            self.music = self.services.music
            return
        self._start_provider()
        self.music = Account(self.provider.url, MUSIC_KEY)

    def _provide_stripe(self) -> None:
        if self.services.stripe is not None:
            self.stripe = self.services.stripe
            return
        self._start_stripe()
        self.stripe = Account(self.stripe_api.url, STRIPE_KEY)

    def _provide_inngest(self) -> None:
        """A standing dev server, one that is started here, or else the embedded engine."""
        if self.services.inngest_url is not None:
            self.inngest_url = self.services.inngest_url
        elif self.services.inngest_program is not None:
            server = InngestDevServer(
                self.services.inngest_program, self.folder / "inngest.log", self.ports.inngest
            )
            self._closing.callback(server.stop)
            server.start(f"http://{HOST}:{self._app_port}")
            self.inngest_url = server.url
        else:
            self._start_engine()
            self.inngest_url = self.engine.url

    def _start_supabase(self) -> None:
        self.postgres = Postgres(
            self.folder / "postgres", durable=self.options.durable, port=self.ports.database
        )
        self._closing.callback(self.postgres.stop)
        self.postgres.start()
        self.postgres.migrate(MIGRATIONS)
        self.shop = Shop(self.postgres.dsn)
        self.postgrest = PostgREST(self.postgres.dsn, JWT_SECRET)
        self._closing.callback(lambda: self.loop.run(self.postgrest.stop()))
        self.loop.run(self.postgrest.start())
        self.storage = Storage(self.folder / "objects", self.postgres.dsn)
        self._closing.callback(lambda: self.loop.run(self.storage.close()))
        self.gateway = Gateway(
            postgrest_url=self.postgrest.url, storage=self.storage, faults=self.faults
        )
        self._serve(self.gateway, self.ports.supabase)

    def _start_provider(self) -> None:
        self.provider = MusicProvider(
            faults=self.faults,
            compose_seconds=self.options.compose_seconds,
            song_seconds=self.options.song_seconds,
            api_key=MUSIC_KEY,
        )
        self._serve(self.provider)

    def _start_stripe(self) -> None:
        self.stripe_api = StripeAPI(api_key=STRIPE_KEY, faults=self.faults)
        self._serve(self.stripe_api)

    def _start_engine(self) -> None:
        self.engine = Engine(
            faults=self.faults,
            retry_interval_seconds=self.options.retry_interval_seconds,
            time_scale=self.options.time_scale,
            run_cron=self.options.run_cron,
        )
        self._serve(self.engine, self.ports.inngest)

    def _serve(self, server: Any, port: int = 0) -> None:
        self._closing.callback(lambda: self.loop.run(server.stop()))
        self.loop.run(server.start(port))

    def _start_app(self) -> None:
        self.app = AppProcess(
            self.app_environ(),
            folder=self.folder,
            workers=self.options.app_workers,
            threads=self.options.app_threads,
            graceful_seconds=self.options.app_graceful_seconds,
        )
        self._closing.callback(self.app.stop)
        self.app.start(self._app_port)
        if self.services.inngest:
            register(self.app.url, self.inngest_url)
        else:
            self.loop.run(self.engine.sync(self.app.url))

    def app_environ(self) -> dict[str, str]:
        """Everything the app is told: addresses and keys, as a real deployment would."""
        return {
            "SUPABASE_URL": self.supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.supabase.key,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_SECRET_KEY": self.stripe.key,
            "STRIPE_API_BASE": self.stripe.url,
            "ELEVEN_LABS_API_KEY": self.music.key,
            "ELEVEN_LABS_BASE_URL": self.music.url,
            "INNGEST_DEV": self.inngest_url,
            **self.options.app_environ,
        }


STACK_ERRORS = (
    AppError,
    InngestDevError,
    MigrationError,
    PortTaken,
    PostgresError,
    PostgRESTError,
    PostgRESTMissing,
    RealServicesError,
    SyncError,
)
"""What keeps a stack from starting, each with a message for a person."""
