"""What each part of a stack is."""

from __future__ import annotations

import sys
from importlib.metadata import version

import requests

from devstack.stack import Stack


def describe_parts(stack: Stack) -> list[tuple[str, str]]:
    """Pairs of a part and what it was, with the versions the servers themselves tell."""
    return [
        ("App", f"this project, gunicorn {version('gunicorn')}, Python {_python_version()}"),
        ("Stripe", _describe_stripe(stack)),
        ("Inngest", _describe_inngest(stack)),
        *_describe_supabase(stack),
        ("ElevenLabs", _describe_music(stack)),
    ]


def _describe_stripe(stack: Stack) -> str:
    events = "events in Stripe's shape with genuine signatures; nobody paid"
    return f"{events}; real API at {stack.stripe.url}" if stack.services.stripe else events


def _describe_inngest(stack: Stack) -> str:
    if stack.services.inngest_url:
        return f"real dev server at {stack.inngest_url}"
    if stack.services.inngest_program:
        return f"real dev server, {stack.services.inngest_program}"
    return "embedded engine, speaking the dev server's protocol"


def _describe_supabase(stack: Stack) -> list[tuple[str, str]]:
    if stack.services.supabase:
        text = f"real project at {stack.supabase.url}; the customer and the order stay in it"
        return [("Supabase", text)]
    return [
        ("Database", f"real PostgreSQL {_postgres_version(stack)}"),
        ("Supabase API", f"real PostgREST {_postgrest_version(stack)}, behind a stand-in gateway"),
        ("Storage", "stand-in, files in a folder"),
    ]


def _describe_music(stack: Stack) -> str:
    if stack.services.music:
        return f"real API at {stack.music.url}"
    return "stand-in; its songs are real MP3s, melodies without a voice"


def _python_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _postgres_version(stack: Stack) -> str:
    return str(stack.shop.rows("show server_version")[0]["server_version"])


def _postgrest_version(stack: Stack) -> str:
    server = requests.get(stack.postgrest.url, timeout=10).headers.get("Server", "")
    return server.removeprefix("postgrest/") or "of unknown version"
