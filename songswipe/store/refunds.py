"""Money that goes back: refunds and disputes, and refunds of our own."""

from __future__ import annotations

from dataclasses import dataclass

from songswipe.checkout import PaymentChange, StripeEvent
from songswipe.models import RecordedRefund
from songswipe.store.calls import StoreCalls, our_errors, rows_of


@dataclass(frozen=True)
class OrderPayment:
    """What an order knows of its money. Amounts are in minor units."""

    order_id: str
    status: str
    amount: int | None
    amount_refunded: int | None


class RefundCalls(StoreCalls):
    """What a payment becomes after it was made."""

    def record_refund(self, event: StripeEvent, change: PaymentChange) -> RecordedRefund:
        row = self._rpc_row(
            "record_refund",
            {
                "p_event_id": event.id,
                "p_event_type": event.type,
                "p_event_created": event.created.isoformat(),
                "p_payment_intent": change.payment_intent,
                "p_amount_refunded": change.amount_refunded,
                "p_refund_amount": change.refund_amount,
                "p_ends_payment": change.ends_payment,
            },
        )
        return RecordedRefund(row["action"], row["order_id"], row["status"], row["cancel_run"])

    def find_events(self, event_ids: list[str]) -> set[str]:
        """Those among the events that are stored already."""
        with our_errors():
            rows = rows_of(
                self._client.table("stripe_events").select("id").in_("id", event_ids).execute()
            )
        return {row["id"] for row in rows}

    def load_payments(self, payment_intents: list[str]) -> dict[str, OrderPayment]:
        """What each payment intent's order knows of its money."""
        with our_errors():
            rows = rows_of(
                self._client.table("orders")
                .select("id,payment_intent,status,amount,amount_refunded")
                .in_("payment_intent", payment_intents)
                .is_("duplicate_of", None)
                .execute()
            )
        return {
            row["payment_intent"]: OrderPayment(
                row["id"], row["status"], row["amount"], row["amount_refunded"]
            )
            for row in rows
        }

    def request_refund(self, order_id: str) -> str | None:
        """Decides that the order is paid back, if that is due; the payment intent then."""
        rows = self._rpc("request_refund", {"p_order_id": order_id})
        return str(rows[0]) if rows else None

    def mark_refunded(self, order_id: str, refund_id: str) -> str:
        params = {"p_order_id": order_id, "p_refund_id": refund_id}
        return str(self._rpc("mark_refunded", params))
