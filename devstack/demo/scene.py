"""The stack, the display, and the few things that happen in every scenario."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from devstack.demo.display import Display
from devstack.demo.progress import Line, Progress
from devstack.demo.songs import SavedSong, save_song
from devstack.engine import Run
from devstack.payments import events as stripe_events
from devstack.payments.objects import Json, checkout_session
from devstack.payments.sender import Attempt
from devstack.shop import Row
from devstack.stack import Stack

APP_ID = "songswipe"
FINAL = ("completed", "failed", "refunded", "canceled")
PATIENCE_SECONDS = 60.0
REAL_PATIENCE_SECONDS = 1200.0
"""A real provider takes minutes for a song, and a real Inngest waits minutes between attempts."""
_POLL_SECONDS = 0.05
_REDELIVERY_SECONDS = 1.0
_LAST_LINES = 15


class OrderUnfinished(Exception):
    """The order did not get where it should have in time; the message ends with the app's log."""


@dataclass(frozen=True)
class Payment:
    """A Checkout Session that a customer has paid, and the event that says so."""

    session: Json
    event: Json


@dataclass
class Scene:
    stack: Stack
    display: Display
    songs_folder: Path
    order: Row | None = None
    songs: list[SavedSong] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    @property
    def patience_seconds(self) -> float:
        services = self.stack.services
        embedded = services.music is None and not services.inngest
        return PATIENCE_SECONDS if embedded else REAL_PATIENCE_SECONDS

    def pay(self) -> Payment:
        """A new customer describes a song and pays for it. Nobody has been told yet."""
        customer = self.stack.books.add_customer()
        embedded = not self.stack.services.inngest
        self.progress = Progress(checkpoints=embedded)
        if embedded:
            self.stack.engine.listeners.append(self.progress.note)
        session = checkout_session(
            user_id=customer.user_id, customization_id=customer.customization_id
        )
        if self.stack.services.stripe is None:
            self.stack.loop.call(lambda: self.stack.stripe_api.add_session(session))
        return Payment(session, stripe_events.checkout_completed(session))

    def deliver(self, event: Json) -> Attempt:
        """Posts a signed event to the webhook once, and says what it answered."""
        attempt = self.stack.loop.run(self.stack.sender.deliver_once(event))
        text = f"{event['type']}: {_answer(attempt)} in {attempt.seconds:.2f} s"
        self.display.tell(Line(text, "done" if attempt.accepted else "failed"))
        return attempt

    def redeliver(self, event: Json) -> Attempt:
        """Posts it until it is accepted, as Stripe would, only sooner; the last try."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            attempt = self.deliver(event)
            if attempt.accepted or time.monotonic() > deadline:
                return attempt
            time.sleep(_REDELIVERY_SECONDS)

    def follow(self, payment: Payment) -> Row:
        """Shows the order's progress until its end; the order then. Raises OrderUnfinished."""
        with self.display.moving():
            order = self._watch(payment, lambda order, _: order["status"] in FINAL)
            self.settle()
            order = self.order_of(payment) or order
            self._show(order)
        self.order = order
        return order

    def follow_until(self, payment: Payment, until: Callable[[Row, list[Row]], bool]) -> Row:
        """The same, until the order and its variants satisfy ``until``."""
        with self.display.moving(transient=True):
            return self._watch(payment, until)

    def settle(self) -> None:
        """Waits until nothing is under way any more, where our own engine knows.

        Raises OrderUnfinished.
        """
        if self.stack.services.inngest:
            return
        try:
            self.stack.loop.run(self.stack.engine.wait_idle(self.patience_seconds))
        except TimeoutError as error:
            raise OrderUnfinished(str(error)) from error

    def _watch(self, payment: Payment, until: Callable[[Row, list[Row]], bool]) -> Row:
        deadline = time.monotonic() + self.patience_seconds
        while time.monotonic() < deadline:
            order = self.order_of(payment)
            if order is not None and until(order, self._show(order)):
                return order
            time.sleep(_POLL_SECONDS)
        last_words = "\n".join(self.stack.app.log.read_text().splitlines()[-_LAST_LINES:])
        waited = f"the order did not end within {self.patience_seconds:.0f} s"
        raise OrderUnfinished(f"{waited}; the app said:\n{last_words}")

    def _show(self, order: Row) -> list[Row]:
        # In this order, so that no checkpoint seems to end before the songs it waited for.
        checkpoints = self.progress.checkpoints()
        variants = self.stack.books.variants(order["id"])
        self.progress.see(variants)
        self.display.show(self.progress.with_songs(checkpoints))
        return variants

    def runs_of(self, function: str) -> list[Run]:
        return self.stack.engine.runs_of(f"{APP_ID}-{function}")

    def set_engine_away(self, away: bool) -> None:
        def set_away() -> None:
            self.stack.engine.away = away

        self.stack.loop.call(set_away)

    def start_cron(self, function: str) -> None:
        """Starts a cron function now instead of when it is due."""
        self.stack.loop.call(lambda: self.stack.engine.fire_cron(f"{APP_ID}-{function}"))

    def order_of(self, payment: Payment) -> Row | None:
        return self.stack.books.order_of_session(payment.session["id"])

    def save_songs(self, order: Row) -> list[SavedSong]:
        """Downloads what is complete."""
        variants = self.stack.books.variants(order["id"])
        self.songs = [
            save_song(self.stack.supabase, variant, self.songs_folder)
            for variant in variants
            if variant["generation_status"] == "complete"
        ]
        return self.songs


def _answer(attempt: Attempt) -> str:
    return attempt.body if attempt.status is None else f"webhook answered {attempt.status}"
