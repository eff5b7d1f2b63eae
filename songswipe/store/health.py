"""Orders that are not where they should be, and whether the database answers."""

from __future__ import annotations

from songswipe.models import Finding
from songswipe.store.calls import BUCKET, StoreCalls, our_errors, request_of


class HealthCalls(StoreCalls):
    """What the sweep and the readiness check ask."""

    def find_unhealthy(
        self,
        *,
        grace_seconds: float,
        deadline_seconds: float,
        max_redrives: int,
        auto_refund: bool,
    ) -> list[Finding]:
        rows = self._rpc(
            "sweep_findings",
            {
                "p_grace_seconds": grace_seconds,
                "p_deadline_seconds": deadline_seconds,
                "p_max_redrives": max_redrives,
                "p_bucket": BUCKET,
                "p_auto_refund": auto_refund,
            },
        )
        return [
            Finding(
                row["finding"],
                request_of(row),
                row["redrives"],
                row["status"],
                row["variant_number"],
            )
            for row in rows
        ]

    def mark_unplayable(self, order_id: str, number: int) -> None:
        """Remembers that what lies in Storage for a failed variant is no song."""
        with our_errors():
            self._client.table("song_variants").update(
                {"generation_status": "failed", "failure_reason": "audio_unplayable"}
            ).eq("order_id", order_id).eq("variant_number", number).neq(
                "generation_status", "complete"
            ).execute()

    def settle_order(self, order_id: str) -> str:
        return str(self._rpc("settle_order", {"p_order_id": order_id}))

    def ping(self) -> None:
        """One small read. Raises StoreUnavailableError or StoreRejectedError."""
        with our_errors():
            self._client.table("orders").select("id").limit(1).execute()
