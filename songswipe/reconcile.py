"""Reconciliation with Stripe: what Stripe knows and we do not is taken in, as if it had been told.

Webhooks can be lost: an endpoint that was misconfigured, switched off, or answered 200 by something
else. So everything that was paid, paid back or disputed is asked for, not only failed deliveries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from songswipe.checkout import (
    CheckoutChange,
    PaymentChange,
    StripeEvent,
    decide_checkout,
)
from songswipe.errors import HandoverError, InvalidEventError, PaymentsRefusedError
from songswipe.events import EventSender
from songswipe.given_back import GivenBack, total_of, with_end
from songswipe.models import GenerationRequest
from songswipe.payments import Payments
from songswipe.store import OrderPayment, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

_SEND_TIMEOUT_SECONDS = 5.0
# Ids in one look into the database; they travel in an address, which may not be too long.
_LOOKUP = 50
# A bank transfer can take two weeks, and then its session is older than what is listed.
_DELAYED_PAYMENT = timedelta(days=30)
_COMPLETED = "checkout.session.completed"
# For what a session says, the states of its order that have not heard of it. None: no order.
_UNTOLD: dict[str, set[str | None]] = {"paid": {None, "pending", "canceled"}, "pending": {None}}
_PAID = ("paid", "generating", "completed", "failed")
_TAKEN_IN = ("created", "updated", "dead_lettered")


@dataclass(frozen=True)
class Correction:
    """Something that Stripe knew and we did not. ``done`` is a word; ``found`` in a dry run."""

    what: str
    stripe_id: str
    done: str
    order_id: str | None = None


@dataclass(frozen=True)
class Outcome:
    """``seen`` counts what Stripe listed, also what is not ours; ``skipped`` says what could not be
    looked at, and why."""

    seen: int
    corrections: list[Correction]
    skipped: list[str]


@dataclass(frozen=True)
class Reconciliation:
    store: Store
    sender: EventSender
    payments: Payments
    livemode: bool
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, since: timedelta, *, dry_run: bool = False) -> Outcome:
        """Raises a PaymentsError or a store's error; what was taken in by then stays, and another
        call goes on from there."""
        began = self.now() - since
        given_back = GivenBack()
        skipped: list[str] = []
        for add, listed in (
            (given_back.add_refunds, self.payments.refunds(began)),
            (given_back.add_disputes, self.payments.disputes(began)),
        ):
            try:
                add(listed)
            except PaymentsRefusedError as error:
                # A restricted key may do for the sessions, which matter most.
                skipped.append(str(error))
        seen, corrections = self._sessions(began, given_back, dry_run)
        corrections += self._payments_of_orders(given_back, dry_run)
        return Outcome(seen + given_back.seen, corrections, skipped)

    def _sessions(
        self, since: datetime, given_back: GivenBack, dry_run: bool
    ) -> tuple[int, list[Correction]]:
        seen, corrections = 0, []
        for sessions in _batches(self._every_session(since)):
            seen += len(sessions)
            for session, change in self._untold(sessions):
                corrections += self._take_session(session, change, given_back, dry_run)
        return seen, corrections

    def _every_session(self, since: datetime) -> Iterator[dict[str, Any]]:
        listed = set()
        for session in self.payments.completed_sessions(since):
            listed.add(session["id"])
            yield session
        for session_id in self.store.load_pending_sessions(self.now() - _DELAYED_PAYMENT):
            if session_id not in listed:
                session_now = self.payments.find_session(session_id)
                if session_now is not None:
                    yield session_now

    def _untold(
        self, sessions: Sequence[dict[str, Any]]
    ) -> list[tuple[dict[str, Any], CheckoutChange]]:
        """The sessions that are ours and of whose state we have not heard."""
        ours = [(s, c) for s in sessions if (c := self._checkout_change(s)) is not None]
        known = self.store.load_session_states([change.session_id for _, change in ours])
        untold = [(s, c) for s, c in ours if known.get(c.session_id) in _UNTOLD[c.outcome]]
        if not untold:
            return []
        # Some were looked at before and left, an unpaid one of no known customer for example.
        looked_at = self.store.find_events([_event_id(change) for _, change in untold])
        return [(s, c) for s, c in untold if _event_id(c) not in looked_at]

    def _checkout_change(self, session: dict[str, Any]) -> CheckoutChange | None:
        if session.get("livemode") is not self.livemode:
            return None
        try:
            change = decide_checkout(_COMPLETED, session)
        except InvalidEventError:
            return None
        return change if isinstance(change, CheckoutChange) else None

    def _take_session(
        self,
        session: dict[str, Any],
        change: CheckoutChange,
        given_back: GivenBack,
        dry_run: bool,
    ) -> list[Correction]:
        # First what was given back of it, so that nothing is bought for an order that is over.
        corrections = [
            self._take_payment(what, None, with_end(payment, change.amount), dry_run)
            for what, payment in given_back.of(change.payment_intent)
        ]
        if dry_run:
            return [*corrections, Correction("session", change.session_id, "found")]
        event = self._event(_event_id(change), _COMPLETED, session)
        recorded = self.store.record_checkout(event, change)
        order_id = recorded.request.order_id if recorded.request else None
        if recorded.hand_over and recorded.request is not None:
            self._hand_over(recorded.request)
        if recorded.action in _TAKEN_IN:
            done = self._corrected("session", change.session_id, recorded.action, order_id)
            corrections.append(done)
        return corrections

    def _hand_over(self, request: GenerationRequest) -> None:
        try:
            self.sender.request_generation(request, _SEND_TIMEOUT_SECONDS)
            self.store.mark_handed_over(request.order_id)
        except HandoverError as error:
            log.warning("order %s stays with the sweep: %s", request.order_id, error)

    def _payments_of_orders(self, given_back: GivenBack, dry_run: bool) -> list[Correction]:
        corrections = []
        for batch in _batches(given_back.all()):
            orders = self.store.load_payments([change.payment_intent for _, change in batch])
            for what, change in batch:
                order = orders.get(change.payment_intent)
                if order is not None and (news := self._news(order, change)) is not None:
                    corrections.append(self._take_payment(what, order, news, dry_run))
        return corrections

    def _news(self, order: OrderPayment, change: PaymentChange) -> PaymentChange | None:
        """The change, if the order has not heard of it; with the end of the payment worked out."""
        change = with_end(change, order.amount)
        if not change.ends_payment and order.status != "refunded":
            # The rest may have been given back before the time that was looked at.
            total = total_of(self.payments.refunds_of(change.payment_intent))
            change = with_end(replace(change, amount_refunded=total), order.amount)
        if change.ends_payment and order.status in _PAID:
            return change
        return change if (change.amount_refunded or 0) > (order.amount_refunded or 0) else None

    def _take_payment(
        self, what: str, order: OrderPayment | None, change: PaymentChange, dry_run: bool
    ) -> Correction:
        order_id = order.order_id if order is not None else None
        if dry_run:
            return Correction(what, change.payment_intent, "found", order_id)
        event_id = f"reconcile-{what}-{change.payment_intent}-{change.amount_refunded or 'all'}"
        recorded = self.store.record_refund(self._event(event_id, f"reconcile.{what}", {}), change)
        if recorded.cancel_run and recorded.order_id is not None:
            try:
                self.sender.cancel_generation(recorded.order_id, _SEND_TIMEOUT_SECONDS)
            except HandoverError as error:
                log.warning("order %s: run not cancelled: %s", recorded.order_id, error)
        return self._corrected(what, change.payment_intent, recorded.action, recorded.order_id)

    def _corrected(self, what: str, stripe_id: str, done: str, order_id: str | None) -> Correction:
        log.warning("reconcile: %s %s %s, order %s", what, stripe_id, done, order_id)
        return Correction(what, stripe_id, done, order_id)

    def _event(self, event_id: str, event_type: str, subject: dict[str, Any]) -> StripeEvent:
        raw = {"id": event_id, "type": event_type, "data": {"object": subject}}
        return StripeEvent(event_id, event_type, self.now(), self.livemode, subject, raw)


def _event_id(change: CheckoutChange) -> str:
    """One id for one state of a session, so that a repeat is the same event."""
    return f"reconcile-{change.session_id}-{change.outcome}"


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _LOOKUP)):
        yield batch
