"""What a person has to know of a standing stack: addresses, keys, and what to do next."""

from __future__ import annotations

from devstack.dev.standing import Standing
from devstack.parts import describe_parts
from devstack.project.keys import PUBLISHABLE_KEY
from devstack.stack import Stack


def print_welcome(stack: Stack, standing: Standing) -> None:
    _print_pairs([*_addresses(stack, standing), ("Log", str(stack.app.log))])
    print()
    _print_pairs(describe_parts(stack))
    print("\nPlace an order from another terminal:  .venv/bin/python -m devstack order")
    print("Ctrl-C stops; the data stays. The app's log follows.\n", flush=True)


def _addresses(stack: Stack, standing: Standing) -> list[tuple[str, str]]:
    pairs = [
        ("App", stack.app.url),
        ("Stripe webhook", f"{standing.webhook_url}   secret {standing.webhook_secret}"),
        ("Inngest", f"{standing.inngest_url}   its page, in a browser"),
        ("Supabase API", standing.supabase_url),
    ]
    if stack.services.supabase is None:
        pairs += [
            ("  secret key", standing.supabase_key),
            ("  public key", PUBLISHABLE_KEY),
            ("  database", stack.postgres.dsn_as("postgres")),
        ]
    return pairs


def _print_pairs(pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        print(f"  {name:{width}}  {text}")
