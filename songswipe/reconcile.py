"""Reconciliation with Stripe: what Stripe knows and we do not is taken in, as if it had been told.

Webhooks can be lost: an endpoint that was misconfigured, switched off, or answered 200 by something
else. So everything that was paid, paid back or disputed is asked for, not only failed deliveries.
"""

from __future__ import annotations

import logging
from collections import defaultdict
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
    decide_dispute,
    decide_refund,
)
from songswipe.errors import HandoverError, InvalidEventError, PaymentsRefusedError
from songswipe.events import EventSender
from songswipe.payments import Payments
from songswipe.store import OrderPayment, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

_SEND_TIMEOUT_SECONDS = 5.0
# Ids in one look into the database; they travel in an address, which may not be too long.
_LOOKUP = 50
_COMPLETED = "checkout.session.completed"
# For what a session says, the states of its order that have not heard of it. None: no order.
_UNTOLD: dict[str, set[str | None]] = {"paid": {None, "pending", "canceled"}, "pending": {None}}
_ENDED_OR_UNPAID = ("refunded", "pending", "canceled")


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
        seen, corrections, skipped = 0, [], []
        for look in (self._sessions, self._refunds, self._disputes):
            try:
                number, found = look(began, dry_run)
            except PaymentsRefusedError as error:
                if look == self._sessions:
                    raise
                # A restricted key may do for the sessions, which matter most.
                skipped.append(str(error))
                continue
            seen += number
            corrections += found
        return Outcome(seen, corrections, skipped)

    def _sessions(self, since: datetime, dry_run: bool) -> tuple[int, list[Correction]]:
        seen, corrections = 0, []
        for sessions in _batches(self.payments.completed_sessions(since)):
            seen += len(sessions)
            ours = [(s, c) for s in sessions if (c := self._checkout_change(s)) is not None]
            known = self.store.load_session_states([change.session_id for _, change in ours])
            for session, change in ours:
                if known.get(change.session_id) in _UNTOLD[change.outcome]:
                    corrections.append(self._take_session(session, change, dry_run))
        return seen, corrections

    def _checkout_change(self, session: dict[str, Any]) -> CheckoutChange | None:
        if session.get("livemode") is not self.livemode:
            return None
        try:
            change = decide_checkout(_COMPLETED, session)
        except InvalidEventError:
            return None
        return change if isinstance(change, CheckoutChange) else None

    def _take_session(
        self, session: dict[str, Any], change: CheckoutChange, dry_run: bool
    ) -> Correction:
        if dry_run:
            return Correction("session", change.session_id, "found")
        # One id for one state of a session, so that a repeat is the same event.
        event = self._event(f"reconcile-{change.session_id}-{change.outcome}", _COMPLETED, session)
        recorded = self.store.record_checkout(event, change)
        order_id = recorded.request.order_id if recorded.request else None
        if recorded.hand_over and recorded.request is not None:
            try:
                self.sender.request_generation(recorded.request, _SEND_TIMEOUT_SECONDS)
                self.store.mark_handed_over(recorded.request.order_id)
            except HandoverError as error:
                log.warning("order %s stays with the sweep: %s", order_id, error)
        return self._corrected("session", change.session_id, recorded.action, order_id)

    def _refunds(self, since: datetime, dry_run: bool) -> tuple[int, list[Correction]]:
        """Refunds of one payment add up; together they may be all of it."""
        seen = 0
        totals: dict[str, int] = defaultdict(int)
        for refund in self.payments.refunds(since):
            seen += 1
            change = decide_refund(refund)
            if isinstance(change, PaymentChange) and change.refund_amount:
                totals[change.payment_intent] += change.refund_amount
        changes = [PaymentChange(pi, amount_refunded=total) for pi, total in totals.items()]
        return seen, self._take_payments("refund", changes, dry_run)

    def _disputes(self, since: datetime, dry_run: bool) -> tuple[int, list[Correction]]:
        decisions = [decide_dispute(dispute) for dispute in self.payments.disputes(since)]
        changes = [change for change in decisions if isinstance(change, PaymentChange)]
        return len(decisions), self._take_payments("dispute", changes, dry_run)

    def _take_payments(
        self, what: str, changes: Sequence[PaymentChange], dry_run: bool
    ) -> list[Correction]:
        corrections = []
        for batch in _batches(changes):
            orders = self.store.load_payments([change.payment_intent for change in batch])
            for change in batch:
                order = orders.get(change.payment_intent)
                if order is not None and (news := _news(order, change)) is not None:
                    corrections.append(self._take_payment(what, order, news, dry_run))
        return corrections

    def _take_payment(
        self, what: str, order: OrderPayment, change: PaymentChange, dry_run: bool
    ) -> Correction:
        if dry_run:
            return Correction(what, change.payment_intent, "found", order.order_id)
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


def _news(order: OrderPayment, change: PaymentChange) -> PaymentChange | None:
    """The change, if the order has not heard of it; with the end of the payment worked out."""
    total = change.amount_refunded or 0
    ends = change.ends_payment or (order.amount is not None and 0 < order.amount <= total)
    if ends and order.status not in _ENDED_OR_UNPAID:
        return replace(change, ends_payment=True)
    return change if total > (order.amount_refunded or 0) else None


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _LOOKUP)):
        yield batch
