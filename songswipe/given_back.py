"""What Stripe lists of refunds, added up for each payment, and of disputes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from songswipe.checkout import PaymentChange, decide_dispute, decide_refund

Listed = Iterable[Mapping[str, Any]]


@dataclass
class GivenBack:
    """By payment intent. ``seen`` counts what was listed, also what counts for nothing."""

    seen: int = 0
    refunds: dict[str, PaymentChange] = field(default_factory=dict)
    disputes: dict[str, PaymentChange] = field(default_factory=dict)

    def add_refunds(self, refunds: Listed) -> None:
        """Refunds of one payment add up; together they may be all of it."""
        totals: dict[str, int] = defaultdict(int)
        for refund in refunds:
            self.seen += 1
            change = decide_refund(refund)
            if isinstance(change, PaymentChange) and change.refund_amount:
                totals[change.payment_intent] += change.refund_amount
        self.refunds = {
            payment_intent: PaymentChange(payment_intent, amount_refunded=total)
            for payment_intent, total in totals.items()
        }

    def add_disputes(self, disputes: Listed) -> None:
        for dispute in disputes:
            self.seen += 1
            change = decide_dispute(dispute)
            if isinstance(change, PaymentChange):
                self.disputes[change.payment_intent] = change

    def of(self, payment_intent: str | None) -> list[tuple[str, PaymentChange]]:
        """What is known of one payment, each with its word."""
        return [
            (what, changes[payment_intent])
            for what, changes in (("refund", self.refunds), ("dispute", self.disputes))
            if payment_intent in changes
        ]

    def all(self) -> Iterator[tuple[str, PaymentChange]]:
        for payment_intent in self.refunds | self.disputes:
            yield from self.of(payment_intent)


def total_of(refunds: Listed) -> int:
    """What refunds of one payment come to."""
    changes = [decide_refund(refund) for refund in refunds]
    return sum(c.refund_amount or 0 for c in changes if isinstance(c, PaymentChange))


def with_end(change: PaymentChange, amount: int | None) -> PaymentChange:
    """The same, knowing what was paid: refunds that come to all of it are the payment's end."""
    total = change.amount_refunded or 0
    is_all = amount is not None and 0 < amount <= total
    return replace(change, ends_payment=change.ends_payment or is_all)
