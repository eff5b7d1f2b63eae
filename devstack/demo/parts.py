"""What each part of the demo was."""

from __future__ import annotations

import sys
from importlib.metadata import version

import requests

from devstack.stack import Stack


def describe_parts(stack: Stack) -> list[tuple[str, str]]:
    """Pairs of a part and what it was, with the versions the servers themselves tell."""
    return [
        ("App", f"this project, gunicorn {version('gunicorn')}, Python {_python_version()}"),
        ("Stripe", "events in Stripe's shape with genuine signatures; nobody paid"),
        ("Inngest", "embedded engine, speaking the dev server's protocol"),
        ("Database", f"real PostgreSQL {_postgres_version(stack)}"),
        ("Supabase API", f"real PostgREST {_postgrest_version(stack)}, behind a stand-in gateway"),
        ("Storage", "stand-in, files in a folder"),
        ("ElevenLabs", "stand-in; its songs are real MP3s, melodies without a voice"),
    ]


def _python_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _postgres_version(stack: Stack) -> str:
    return str(stack.shop.rows("show server_version")[0]["server_version"])


def _postgrest_version(stack: Stack) -> str:
    server = requests.get(stack.postgrest.url, timeout=10).headers.get("Server", "")
    return server.removeprefix("postgrest/") or "of unknown version"
