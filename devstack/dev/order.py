"""``python -m devstack order``: a customer pays, at the standing stack."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from pathlib import Path

from devstack.demo.display import create_display
from devstack.demo.progress import Line, Progress
from devstack.demo.songs import SONGS, describe_song, save_song
from devstack.dev.command import DATA
from devstack.dev.standing import Standing, StandingError
from devstack.payments.events import checkout_completed
from devstack.payments.objects import Json, checkout_session
from devstack.payments.sender import Attempt, StripeSender
from devstack.shop import Books, ProjectError

_POLL_SECONDS = 0.2
_FINAL = ("completed", "failed", "refunded", "canceled")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m devstack order", description="Place a paid order at the standing stack."
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="the stack's")
    parser.add_argument(
        "--metadata",
        action="store_true",
        help="only make the customer, and print the metadata that makes a Checkout Session theirs",
    )
    parser.add_argument("--no-wait", action="store_true", help="only deliver the payment")
    arguments = parser.parse_args(argv)
    try:
        standing = Standing.found_in(arguments.data)
        with contextlib.closing(standing.books()) as books:
            if arguments.metadata:
                return _print_metadata(books)
            return _order(standing, books, wait=not arguments.no_wait)
    except (StandingError, ProjectError) as error:
        print(error, file=sys.stderr)
        return 1


def _print_metadata(books: Books) -> int:
    customer = books.add_customer()
    print(f"userId={customer.user_id}\ncustomizationId={customer.customization_id}")
    return 0


def _order(standing: Standing, books: Books, *, wait: bool) -> int:
    customer = books.add_customer()
    session = checkout_session(user_id=customer.user_id, customization_id=customer.customization_id)
    answer = asyncio.run(_deliver(standing, checkout_completed(session)))
    print(f"The webhook answered {answer.status}: {answer.body.strip()}")
    if not answer.accepted:
        return 1
    return _follow(standing, books, session["id"]) if wait else 0


async def _deliver(standing: Standing, event: Json) -> Attempt:
    sender = StripeSender(webhook_url=standing.webhook_url, secret=standing.webhook_secret)
    try:
        return await sender.deliver_once(event)
    finally:
        await sender.close()


def _follow(standing: Standing, books: Books, session_id: str) -> int:
    """Shows the songs until the order has ended; Ctrl-C leaves it to itself."""
    display = create_display()
    progress = Progress(checkpoints=False)
    with display.moving():
        while True:
            order = books.order_of_session(session_id)
            assert order is not None  # the webhook said that it is stored
            variants = books.variants(order["id"])
            progress.see(variants)
            display.show(progress.with_songs([]))
            if order["status"] in _FINAL:
                break
            time.sleep(_POLL_SECONDS)
    completed = order["status"] == "completed"
    display.tell(Line(f"order {order['id']}: {order['status']}", "done" if completed else "failed"))
    for variant in variants:
        if variant["generation_status"] == "complete":
            display.say(f"  {describe_song(save_song(standing.supabase, variant, SONGS))}")
    return 0 if completed else 1
