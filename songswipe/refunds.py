"""Paying an order back when it failed and no song was delivered. Off unless AUTO_REFUND is set."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from songswipe.payments import Payments
from songswipe.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoRefund:
    """First the decision is stored, and no run of the order buys anything after it; then Stripe is
    asked, under a key derived from the order; then the order is marked. After a crash anywhere
    between, the sweep goes on from there."""

    store: Store
    payments: Payments

    def refund_if_due(self, order_id: str) -> str:
        """``not_due``, or the order's state afterwards.

        Raises a PaymentsError or a store's error; calling again is safe.
        """
        payment_intent = self.store.request_refund(order_id)
        if payment_intent is None:
            return "not_due"
        refund_id = self.payments.refund(payment_intent, order_id)
        status = self.store.mark_refunded(order_id, refund_id)
        log.info("order %s: paid back, %s", order_id, refund_id)
        return status
