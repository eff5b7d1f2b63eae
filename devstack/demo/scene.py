"""The stack, the display, and the few things that happen in every scenario."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from devstack import stripe_events
from devstack.demo.display import Display
from devstack.demo.progress import Line, Progress
from devstack.demo.songs import SavedSong, save_song
from devstack.keys import SECRET_KEY
from devstack.shop import Row
from devstack.stack import Stack
from devstack.stripe_objects import Json, checkout_session
from devstack.stripe_sender import Attempt

FINAL = ("completed", "failed", "refunded", "canceled")
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1


class OrderUnfinished(Exception):
    """The order did not get where it should have in time."""


@dataclass(frozen=True)
class Payment:
    """A Checkout Session that a customer has paid, and the event that says so."""

    session: Json
    event: Json


@dataclass
class Scene:
    stack: Stack
    display: Display
    songs: list[SavedSong] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def pay(self) -> Payment:
        """A new customer describes a song and pays for it. Nobody has been told yet."""
        customer = self.stack.shop.add_customer()
        self.progress = Progress()
        self.stack.engine.listeners.append(self.progress.note)
        session = checkout_session(
            user_id=customer.user_id, customization_id=customer.customization_id
        )
        return Payment(session, stripe_events.checkout_completed(session))

    def deliver(self, event: Json) -> Attempt:
        """Posts a signed event to the webhook once, and says what it answered."""
        attempt = self.stack.loop.run(self.stack.sender.deliver_once(event))
        answer = attempt.status if attempt.status is not None else attempt.body
        text = f"webhook: {event['type']} answered {answer}"
        self.display.tell(Line(text, "done" if attempt.accepted else "failed", attempt.seconds))
        return attempt

    def follow(self, payment: Payment) -> Row:
        """Shows the order's progress until its end; the order then. Raises OrderUnfinished."""
        with self.display.moving():
            order = self._watch(payment, lambda order, _: order["status"] in FINAL)
            self.settle()
            self._show(order)
        return order

    def follow_until(self, payment: Payment, until: Callable[[Row, list[Row]], bool]) -> Row:
        """The same, until the order and its variants satisfy ``until``."""
        with self.display.moving(transient=True):
            return self._watch(payment, until)

    def settle(self) -> None:
        """Waits until nothing is under way any more."""
        self.stack.loop.run(self.stack.engine.wait_idle(PATIENCE_SECONDS))

    def _watch(self, payment: Payment, until: Callable[[Row, list[Row]], bool]) -> Row:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            order = self.order_of(payment)
            if order is not None and until(order, self._show(order)):
                return order
            time.sleep(_POLL_SECONDS)
        raise OrderUnfinished(f"the order did not end within {PATIENCE_SECONDS:.0f} s")

    def _show(self, order: Row) -> list[Row]:
        variants = self.stack.shop.variants(order["id"])
        self.progress.see(variants)
        self.display.show(self.progress.lines())
        return variants

    def order_of(self, payment: Payment) -> Row | None:
        orders = self.stack.shop.orders()
        wanted = payment.session["id"]
        return next((order for order in orders if order["stripe_session_id"] == wanted), None)

    def save_songs(self, order: Row) -> list[SavedSong]:
        """Downloads what is complete."""
        variants = self.stack.shop.variants(order["id"])
        self.songs = [
            save_song(self.stack.gateway.url, SECRET_KEY, variant)
            for variant in variants
            if variant["generation_status"] == "complete"
        ]
        return self.songs
