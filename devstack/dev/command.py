"""The command: take the usual ports, start, say where everything is, stand until stopped."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.app_process import PROJECT
from devstack.dev.log_reader import LogReader
from devstack.dev.ports import check_ports
from devstack.dev.standing import Standing, StandingError, only_one
from devstack.dev.welcome import print_welcome
from devstack.real_services import RealServices
from devstack.shop import ProjectError
from devstack.stack import STACK_ERRORS, WEBHOOK_SECRET, Options, Ports, Stack
from devstack.stopping import Stopped
from songswipe.settings import variables

DATA = PROJECT / ".devstack" / "dev"
_SECONDS_PER_SONG = 2.0
_SONG_SECONDS = 10.0
_POLL_SECONDS = 0.3
_STACK_SETS = {
    "SUPABASE_URL",
    "SUPABASE_SERVICE_ROLE_KEY",
    "ELEVEN_LABS_API_KEY",
    "ELEVEN_LABS_BASE_URL",
    "INNGEST_DEV",
    "STRIPE_API_BASE",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
}


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    ports = Ports(
        app=arguments.app_port,
        supabase=arguments.supabase_port,
        database=arguments.database_port,
        inngest=arguments.inngest_port,
    )
    try:
        services = RealServices.from_environ()
        with only_one(arguments.data):
            check_ports(ports, services)
            with Stack(arguments.data, _options(arguments), ports, services) as stack:
                return _stand(stack)
    except (*STACK_ERRORS, ProjectError, StandingError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack dev",
        description="The whole stack, standing. Other variables of the app (LOG_LEVEL, say) are "
        "taken from the environment; .env is not read.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--app-port", type=int, default=8000, metavar="N", help="the app")
    parser.add_argument("--supabase-port", type=int, default=54321, metavar="N", help="its API")
    parser.add_argument("--database-port", type=int, default=54322, metavar="N", help="PostgreSQL")
    parser.add_argument("--inngest-port", type=int, default=8288, metavar="N", help="Inngest")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="kept here")
    parser.add_argument(
        "--seconds-per-song",
        type=float,
        default=_SECONDS_PER_SONG,
        metavar="S",
        help="how long the provider's stand-in takes for a song",
    )
    parser.add_argument(
        "--retry-interval",
        type=float,
        metavar="S",
        help="seconds between attempts, instead of Inngest's growing ones (embedded engine only)",
    )
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        durable=True,
        retry_interval_seconds=arguments.retry_interval,
        compose_seconds=arguments.seconds_per_song,
        song_seconds=_SONG_SECONDS,
        app_environ=app_variables(os.environ),
    )


def app_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What the app is told beside the addresses and keys of the stack.

    A webhook secret of one's own (that of ``stripe listen``, say) holds beside the stack's.
    """
    names = {variable.name for variable, _ in variables()} - _STACK_SETS
    given = {name: environ[name] for name in names if environ.get(name)}
    if secret := environ.get("STRIPE_WEBHOOK_SECRET"):
        given["STRIPE_WEBHOOK_SECRET"] = f"{WEBHOOK_SECRET},{secret}"
    return given


def _stand(stack: Stack) -> int:
    log = LogReader(stack.app.log)
    standing = Standing.of(stack)
    print_welcome(stack, standing)
    with standing.announced(stack.folder):
        try:
            while stack.app.running:
                log.print_news(_POLL_SECONDS)
        except Stopped:
            print("\nStopping.")
            return 0
    log.print_news(0)
    print("The app has ended; see the lines above.", file=sys.stderr)
    return 1
