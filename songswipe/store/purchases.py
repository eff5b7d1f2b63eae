"""The ledger and the claims: who works on a variant, and what was bought for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from songswipe.models import Claim, GenerationRequest, PurchaseResult
from songswipe.store.calls import BUCKET, StoreCalls


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


class PurchaseCalls(StoreCalls):
    """One variant, from its claim to its song."""

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


def _variant(request: GenerationRequest, number: int, token: str) -> dict[str, object]:
    return {"p_order_id": request.order_id, "p_variant_number": number, "p_token": token}
