"""Every read and write in Supabase: tables, database functions, and the audio bucket.

The only module that imports supabase and httpx. Its errors become ours here: StoreUnavailableError
where the call may be repeated (and may even have happened: every write is safe to repeat), and
StoreRejectedError where the database says that the request is wrong.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import supabase
from postgrest.exceptions import APIError
from storage3.exceptions import StorageApiError

from songswipe.checkout import CheckoutChange, PaymentChange, StripeEvent
from songswipe.errors import (
    CustomizationMissingError,
    OrderMissingError,
    StoreRejectedError,
    StoreUnavailableError,
)
from songswipe.models import (
    VARIANT_COUNT,
    Claim,
    Customization,
    Finding,
    GenerationRequest,
    PurchaseResult,
    RecordedCheckout,
    RecordedRefund,
)

BUCKET = "songs"
JOB_TYPE_GENERATION = "song_generation"
JOB_TYPE_CHECKOUT = "checkout"

# SQLSTATE classes that another attempt cannot mend: data exception, integrity, syntax or access.
_PERMANENT_CLASSES = ("22", "23", "42")


def connect(url: str, key: str, timeout_seconds: float) -> supabase.Client:
    """A client that threads may share. Makes no network call.

    HTTP/1.1, because shared HTTP/2 connections fail in flight when the server recycles them; no
    retries of its own, because every caller here has a retry above it.
    """
    http = httpx.Client(
        timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
        limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        follow_redirects=True,
    )
    options = supabase.ClientOptions(
        httpx_client=http,
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_retry=False,
    )
    client = supabase.create_client(url, key, options)
    # Built lazily and without a lock by the library; done here before threads can race for it.
    assert client.postgrest is not None
    assert client.storage is not None
    return client


@dataclass(frozen=True)
class ClaimTerms:
    """What a claim on a variant is for: the run that makes it, and the call that it may buy."""

    token: str
    run_id: str
    attempt: int
    lease_seconds: float
    prompt_sha256: str
    model_id: str
    length_ms: int


@dataclass(frozen=True)
class OrderPayment:
    """What an order knows of its money. Amounts are in minor units."""

    order_id: str
    status: str
    amount: int | None
    amount_refunded: int | None


class Store:
    def __init__(self, client: supabase.Client) -> None:
        self._client = client

    # Checkout

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
                "p_event_data": _storable(event.raw),
            },
        )
        return RecordedCheckout(
            action=row["action"],
            status=row["status"],
            reason=row["reason"],
            hand_over=row["hand_over"],
            request=_request(row) if row["order_id"] else None,
        )

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

    def load_session_states(self, session_ids: list[str]) -> dict[str, str]:
        """The state of each session's order; ``dead_lettered`` where there is none for that reason,
        ``deleted`` where there was one once. A session that was never taken in has no entry."""
        with _our_errors():
            events = _rows(
                self._client.table("stripe_events")
                .select("stripe_session_id")
                .in_("outcome", ["created", "updated"])
                .in_("stripe_session_id", session_ids)
                .execute()
            )
            letters = _rows(
                self._client.table("failed_jobs")
                .select("stripe_session_id")
                .eq("job_type", JOB_TYPE_CHECKOUT)
                .in_("stripe_session_id", session_ids)
                .execute()
            )
            orders = _rows(
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
        with _our_errors():
            rows = _rows(
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

    def find_events(self, event_ids: list[str]) -> set[str]:
        """Those among the events that are stored already."""
        with _our_errors():
            rows = _rows(
                self._client.table("stripe_events").select("id").in_("id", event_ids).execute()
            )
        return {row["id"] for row in rows}

    def load_payments(self, payment_intents: list[str]) -> dict[str, OrderPayment]:
        """What each payment intent's order knows of its money."""
        with _our_errors():
            rows = _rows(
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

    def mark_handed_over(self, order_id: str, redrive: int | None = None) -> None:
        self._rpc("mark_handed_over", {"p_order_id": order_id, "p_redrive": redrive})

    # Generation

    def load_song_length_seconds(self, request: GenerationRequest) -> int:
        """Raises CustomizationMissingError if the customization is gone or not this customer's."""
        with _our_errors():
            rows = _rows(
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
        with _our_errors():
            self._client.table("song_variants").upsert(
                rows,
                on_conflict="order_id,variant_number",
                ignore_duplicates=True,
                default_to_null=False,
            ).execute()

    def load_generation(
        self, request: GenerationRequest
    ) -> tuple[Customization, list[tuple[int, str]]]:
        """What to compose, and each variant's number and state, in one request."""
        with _our_errors():
            rows = _rows(
                self._client.table("orders")
                .select(
                    "customizations(recipient_name,your_name,occasion,song_length,mood,genre,"
                    "special_memories,things_to_avoid),"
                    "song_variants(variant_number,generation_status)"
                )
                .eq("id", request.order_id)
                .limit(1)
                .execute()
            )
        if not rows:
            raise OrderMissingError
        variants = sorted(
            (int(row["variant_number"]), str(row["generation_status"]))
            for row in rows[0]["song_variants"]
        )
        return _customization(rows[0]["customizations"]), variants

    def claim_variant(
        self,
        request: GenerationRequest,
        number: int,
        terms: ClaimTerms,
        *,
        ignore_audio: bool = False,
    ) -> Claim:
        row = self._rpc_row(
            "claim_variant",
            {
                **_variant(request, number, terms.token),
                "p_run_id": terms.run_id,
                "p_attempt": terms.attempt,
                "p_lease_seconds": terms.lease_seconds,
                "p_prompt_sha256": terms.prompt_sha256,
                "p_model_id": terms.model_id,
                "p_length_ms": terms.length_ms,
                "p_bucket": BUCKET,
                "p_ignore_audio": ignore_audio,
            },
        )
        return Claim(row["decision"], row["reason"], row["retry_after_seconds"])

    def finish_variant(
        self,
        request: GenerationRequest,
        number: int,
        token: str,
        *,
        duration_ms: int,
        size_bytes: int,
        provider_song_id: str | None = None,
    ) -> bool:
        return bool(
            self._rpc(
                "finish_variant",
                {
                    **_variant(request, number, token),
                    "p_duration_ms": duration_ms,
                    "p_size_bytes": size_bytes,
                    "p_provider_song_id": provider_song_id,
                },
            )
        )

    def close_purchase(
        self, request: GenerationRequest, number: int, token: str, result: PurchaseResult
    ) -> str:
        """The variant's state afterwards: ``pending``, ``failed`` or ``complete``."""
        return str(
            self._rpc(
                "close_purchase",
                {
                    **_variant(request, number, token),
                    "p_outcome": result.outcome,
                    "p_reason": result.reason,
                    "p_http_status": result.http_status,
                    "p_operators_business": result.operators_business,
                    "p_fail": result.fail,
                },
            )
        )

    def keep_audio(
        self,
        request: GenerationRequest,
        number: int,
        token: str,
        audio: bytes,
        *,
        duration_ms: int,
        provider_song_id: str | None,
    ) -> None:
        """Keeps a bought song in the database until Storage takes it."""
        self._rpc(
            "keep_audio",
            {
                **_variant(request, number, token),
                "p_audio_base64": base64.b64encode(audio).decode(),
                "p_duration_ms": duration_ms,
                "p_provider_song_id": provider_song_id,
            },
        )

    def release_claim(self, request: GenerationRequest, number: int, token: str) -> None:
        """Lets the next attempt in at once, where the song of this one is safe."""
        self._rpc("release_claim", _variant(request, number, token))

    def find_kept_audio(self, request: GenerationRequest, number: int) -> bytes | None:
        rows = self._rpc("kept_audio", {"p_order_id": request.order_id, "p_variant_number": number})
        return base64.b64decode(str(rows[0])) if rows else None

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
                    "p_event_data": _storable(event_data),
                    "p_error_message": message,
                    "p_error_stack": stack,
                    "p_retry_count": retries,
                },
            )
        )

    # Audio

    def upload_audio(self, path: str, audio: bytes, *, replace: bool = False) -> bool:
        """Stores a song. False if something lies there already and it is not to be replaced."""
        options = {"content-type": "audio/mpeg", "upsert": "true" if replace else "false"}
        try:
            with _our_errors():
                self._client.storage.from_(BUCKET).upload(path, audio, options)  # type: ignore[arg-type]
        except _DuplicateObjectError:
            return False
        return True

    def download_audio(self, path: str) -> bytes:
        with _our_errors():
            return self._client.storage.from_(BUCKET).download(path)

    # Sweep

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
                row["finding"], _request(row), row["redrives"], row["status"], row["variant_number"]
            )
            for row in rows
        ]

    def mark_unplayable(self, order_id: str, number: int) -> None:
        """Remembers that what lies in Storage for a failed variant is no song."""
        with _our_errors():
            self._client.table("song_variants").update(
                {"generation_status": "failed", "failure_reason": "audio_unplayable"}
            ).eq("order_id", order_id).eq("variant_number", number).neq(
                "generation_status", "complete"
            ).execute()

    def settle_order(self, order_id: str) -> str:
        return str(self._rpc("settle_order", {"p_order_id": order_id}))

    def ping(self) -> None:
        """One small read. Raises StoreUnavailableError or StoreRejectedError."""
        with _our_errors():
            self._client.table("orders").select("id").limit(1).execute()

    def _rpc(self, name: str, params: Mapping[str, object]) -> Any:
        with _our_errors():
            return self._client.rpc(name, dict(params)).execute().data

    def _rpc_row(self, name: str, params: Mapping[str, object]) -> dict[str, Any]:
        rows = self._rpc(name, params)
        # A proxy's page with status 200 arrives as text.
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            raise StoreUnavailableError("unexpected_answer")
        return rows[0]


class _DuplicateObjectError(StoreRejectedError):
    code = "duplicate_object"


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise _from_postgrest(error) from None
    except StorageApiError as error:
        raise _from_storage(error) from None
    except httpx.HTTPError as error:
        # The library's own messages may carry the row they were about.
        raise StoreUnavailableError(message=f"store_unavailable: {type(error).__name__}") from None


def _from_postgrest(error: APIError) -> StoreRejectedError | StoreUnavailableError:
    code = str(error.code or "none")
    if code[:2] in _PERMANENT_CLASSES and len(code) == 5:
        return StoreRejectedError(message=f"store_rejected: {code}")
    return StoreUnavailableError(message=f"store_unavailable: {code[:16]}")


def _from_storage(error: StorageApiError) -> StoreRejectedError | StoreUnavailableError:
    status = str(error.status)
    if status == "409":
        return _DuplicateObjectError()
    if status in ("404", "413", "415"):
        return StoreRejectedError(message=f"store_rejected: storage {status}")
    return StoreUnavailableError(message=f"store_unavailable: storage {status[:16]}")


def _rows(response: Any) -> list[dict[str, Any]]:
    if not isinstance(response.data, list):
        raise StoreUnavailableError("unexpected_answer")
    return response.data


def _variant(request: GenerationRequest, number: int, token: str) -> dict[str, object]:
    return {"p_order_id": request.order_id, "p_variant_number": number, "p_token": token}


def _request(row: Mapping[str, Any]) -> GenerationRequest:
    return GenerationRequest(row["order_id"], row["user_id"], row["customization_id"])


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


def _storable(value: Any) -> Any:
    """The same JSON without what PostgreSQL or HTTP refuses: NUL, half a pair, 1e999."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
