"""What a dead letter of generate-song says: which run failed, why, and what the operator can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from songswipe.functions.engine_errors import describe, retries_in
from songswipe.models import GenerationRequest, parse_uuid

_PLAN = "The ElevenLabs plan does not include the Music API"
_KEY = "Set a valid ELEVEN_LABS_API_KEY"
_ADDRESS = "Check ELEVEN_LABS_BASE_URL: what answers there is not the Music API"
_ADVICE = {
    "invalid_api_key": _KEY,
    "needs_authorization": _KEY,
    "http_401": _KEY,
    "request_not_sendable": "Check ELEVEN_LABS_API_KEY and ELEVEN_LABS_BASE_URL",
    # What the provider's current form calls missing_permissions, which is the older one's word.
    "unauthorized": "Give the ElevenLabs key the music permission",
    "missing_permissions": "Give the ElevenLabs key the music permission",
    "quota_exceeded": "Top up the ElevenLabs credits",
    "limited_access": _PLAN,
    "paid_plan_required": _PLAN,
    "payment_required": _PLAN,
    "only_for_creator+": _PLAN,
    "http_402": _PLAN,
    "http_403": _PLAN,
    **{f"http_{status}": _ADDRESS for status in (301, 302, 303, 307, 308, 404, 405)},
}


@dataclass(frozen=True)
class DeadLetter:
    """``order_id`` is None where the event named no order."""

    order_id: str | None
    run_id: str
    event_data: Mapping[str, object]
    message: str
    stack: str | None = None

    @property
    def retries(self) -> int:
        return retries_in(self.message)

    @classmethod
    def without_song(
        cls, request: GenerationRequest, run_id: str, reasons: Mapping[str, str], retries: int
    ) -> DeadLetter:
        """Of a run whose variants all failed; ``reasons`` are their codes, by number."""
        return cls(
            order_id=request.order_id,
            run_id=run_id,
            event_data=request.event_data(),
            message=describe(_no_song(reasons), retries),
        )

    @classmethod
    def of_failed_run(cls, data: object) -> DeadLetter:
        """From the data of an ``inngest/function.failed`` event."""
        failure = mapping(data)
        event_data = mapping(mapping(failure.get("event")).get("data"))
        error = mapping(failure.get("error"))
        stack = error.get("stack")
        return cls(
            order_id=parse_uuid(event_data.get("orderId")),
            run_id=str(failure.get("run_id")),
            event_data=event_data,
            message=str(error.get("message") or error.get("name") or "the run failed"),
            stack=stack if isinstance(stack, str) else None,
        )


def mapping(value: object) -> Mapping[str, Any]:
    """The value, or nothing where it is no mapping."""
    return value if isinstance(value, Mapping) else {}


def _no_song(reasons: Mapping[str, str]) -> str:
    """Every variant's reason, and what to do."""
    listed = ", ".join(f"variant {number} {reason}" for number, reason in sorted(reasons.items()))
    advice = sorted({_ADVICE[reason] for reason in reasons.values() if reason in _ADVICE})
    return ". ".join([f"no song: {listed or 'every variant had failed before'}", *advice])
