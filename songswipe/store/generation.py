"""The run of an order: its customization, its states, its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songswipe.errors import CustomizationMissingError, OrderMissingError
from songswipe.models import VARIANT_COUNT, Customization, GenerationRequest, VariantResult
from songswipe.store.calls import StoreCalls, our_errors, rows_of, storable

JOB_TYPE_GENERATION = "song_generation"


class GenerationCalls(StoreCalls):
    """An order's way from paid to its end."""

    def load_song_length_seconds(self, request: GenerationRequest) -> int:
        """Raises CustomizationMissingError if the customization is gone or not this customer's."""
        with our_errors():
            rows = rows_of(
                self._client.table("customizations")
                .select("song_length")
                .eq("id", request.customization_id)
                .eq("user_id", request.user_id)
                .limit(1)
                .execute()
            )
        if not rows:
            raise CustomizationMissingError
        return int(rows[0]["song_length"])

    def begin_generation(self, request: GenerationRequest) -> str:
        """``generate``, ``done``, or the state that forbids it.

        Raises OrderMissingError if there is no such order of this customer.
        """
        decision = str(
            self._rpc(
                "begin_generation",
                {
                    "p_order_id": request.order_id,
                    "p_user_id": request.user_id,
                    "p_customization_id": request.customization_id,
                },
            )
        )
        if decision == "missing":
            raise OrderMissingError
        return decision

    def insert_variants(self, request: GenerationRequest) -> None:
        """Three rows; those that exist are left as they are."""
        rows = [
            {
                "order_id": request.order_id,
                "user_id": request.user_id,
                "variant_number": number,
                "storage_path": request.storage_path(number),
            }
            for number in range(1, VARIANT_COUNT + 1)
        ]
        with our_errors():
            self._client.table("song_variants").upsert(
                rows,
                on_conflict="order_id,variant_number",
                ignore_duplicates=True,
                default_to_null=False,
            ).execute()

    def load_generation(
        self, request: GenerationRequest
    ) -> tuple[Customization, list[VariantResult], list[int]]:
        """What to compose, the variants that have ended, and the numbers of those that have not;
        in one request."""
        with our_errors():
            rows = rows_of(
                self._client.table("orders")
                .select(
                    "customizations(recipient_name,your_name,occasion,song_length,mood,genre,"
                    "special_memories,things_to_avoid),"
                    "song_variants(variant_number,generation_status,failure_reason)"
                )
                .eq("id", request.order_id)
                .limit(1)
                .execute()
            )
        if not rows:
            raise OrderMissingError
        ended: list[VariantResult] = []
        unfinished: list[int] = []
        for row in sorted(rows[0]["song_variants"], key=lambda row: int(row["variant_number"])):
            number, state = int(row["variant_number"]), row["generation_status"]
            if state in ("complete", "failed"):
                ended.append(VariantResult(number, state, row["failure_reason"]))
            else:
                unfinished.append(number)
        return _customization(rows[0]["customizations"]), ended, unfinished

    def finalize_order(self, order_id: str) -> str:
        """The order's state, ``in_progress`` or ``no_song``."""
        return str(self._rpc("finalize_order", {"p_order_id": order_id}))

    def record_failure(
        self,
        *,
        order_id: str | None,
        run_id: str,
        event_data: Mapping[str, object],
        message: str,
        stack: str | None,
        retries: int,
    ) -> str:
        """The order's state afterwards, or ``in_progress`` where another run is at work."""
        return str(
            self._rpc(
                "record_failure",
                {
                    "p_job_type": JOB_TYPE_GENERATION,
                    "p_order_id": order_id,
                    "p_run_id": run_id,
                    "p_event_data": storable(event_data),
                    "p_error_message": message,
                    "p_error_stack": stack,
                    "p_retry_count": retries,
                },
            )
        )


def _customization(row: Mapping[str, Any]) -> Customization:
    return Customization(
        recipient_name=row["recipient_name"],
        your_name=row["your_name"],
        occasion=row["occasion"],
        song_length_seconds=int(row["song_length"]),
        mood=tuple(row["mood"]),
        genre=row["genre"],
        special_memories=row["special_memories"] or "",
        things_to_avoid=row["things_to_avoid"] or "",
    )
