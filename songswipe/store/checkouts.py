"""Checkout Sessions: what Stripe told us of them, and the orders they became."""

from __future__ import annotations

from datetime import datetime

from songswipe.checkout import CheckoutChange, StripeEvent
from songswipe.models import RecordedCheckout
from songswipe.store.calls import StoreCalls, our_errors, request_of, rows_of, storable

JOB_TYPE_CHECKOUT = "checkout"


class CheckoutCalls(StoreCalls):
    """Orders as they come in."""

    def record_checkout(self, event: StripeEvent, change: CheckoutChange) -> RecordedCheckout:
        row = self._rpc_row(
            "record_checkout",
            {
                "p_event_id": event.id,
                "p_event_type": event.type,
                "p_event_created": event.created.isoformat(),
                "p_session_id": change.session_id,
                "p_payment_intent": change.payment_intent,
                "p_outcome": change.outcome,
                "p_user_id": change.user_id,
                "p_customization_id": change.customization_id,
                "p_amount": change.amount,
                "p_currency": change.currency,
                "p_problem": change.problem,
                "p_event_data": storable(event.raw),
            },
        )
        return RecordedCheckout(
            action=row["action"],
            status=row["status"],
            reason=row["reason"],
            hand_over=row["hand_over"],
            request=request_of(row) if row["order_id"] else None,
        )

    def load_session_states(self, session_ids: list[str]) -> dict[str, str]:
        """The state of each session's order; ``dead_lettered`` where there is none for that reason,
        ``deleted`` where there was one once. A session that was never taken in has no entry."""
        with our_errors():
            events = rows_of(
                self._client.table("stripe_events")
                .select("stripe_session_id")
                .in_("outcome", ["created", "updated"])
                .in_("stripe_session_id", session_ids)
                .execute()
            )
            letters = rows_of(
                self._client.table("failed_jobs")
                .select("stripe_session_id")
                .eq("job_type", JOB_TYPE_CHECKOUT)
                .in_("stripe_session_id", session_ids)
                .execute()
            )
            orders = rows_of(
                self._client.table("orders")
                .select("stripe_session_id,status")
                .in_("stripe_session_id", session_ids)
                .is_("duplicate_of", None)
                .execute()
            )
        return (
            {row["stripe_session_id"]: "deleted" for row in events}
            | {row["stripe_session_id"]: "dead_lettered" for row in letters}
            | {row["stripe_session_id"]: row["status"] for row in orders}
        )

    def load_pending_sessions(self, since: datetime) -> list[str]:
        """The sessions of orders made since then whose payment has not come yet."""
        with our_errors():
            rows = rows_of(
                self._client.table("orders")
                .select("stripe_session_id")
                .eq("status", "pending")
                .gte("created_at", since.isoformat())
                .is_("duplicate_of", None)
                .not_.is_("stripe_session_id", None)
                .order("created_at")
                .execute()
            )
        return [row["stripe_session_id"] for row in rows]

    def mark_handed_over(self, order_id: str, redrive: int | None = None) -> None:
        self._rpc("mark_handed_over", {"p_order_id": order_id, "p_redrive": redrive})
