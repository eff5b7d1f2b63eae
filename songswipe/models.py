"""The plain values that travel between the edges and the logic.

An order's states, and the database function or event that leads from one to the next:

```mermaid
stateDiagram-v2
    [*] --> pending: record_checkout (not paid yet)
    [*] --> paid: record_checkout
    [*] --> canceled: record_checkout (had failed before)
    [*] --> refunded: record_checkout (paid back before)
    pending --> paid: record_checkout
    pending --> canceled: record_checkout
    pending --> refunded: record_checkout (paid back before)
    canceled --> paid: record_checkout
    canceled --> refunded: record_checkout (paid back before)
    paid --> generating: begin_generation
    generating --> completed: finalize_order
    generating --> failed: record_failure
    paid --> failed: record_failure
    failed --> generating: begin_generation (a replay)
    failed --> completed: settle_order (a song turned up)
    paid --> refunded: record_refund
    generating --> refunded: record_refund
    completed --> refunded: record_refund
    failed --> refunded: record_refund, mark_refunded
```

Mind the two words: an order ends ``completed``, a variant ends ``complete``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from songswipe.errors import InvalidRequestError, Outcome

EVENT_GENERATION_REQUESTED = "song/generation.requested"
EVENT_ORDER_REFUNDED = "song/order.refunded"
VARIANT_COUNT = 3

ClaimDecision = Literal["buy", "adopt", "kept", "busy", "complete", "failed", "stopped"]
VariantState = Literal["complete", "failed", "retry", "busy", "stopped"]


@dataclass(frozen=True)
class GenerationRequest:
    """The data of a ``song/generation.requested`` event."""

    order_id: str
    user_id: str
    customization_id: str

    @classmethod
    def from_event_data(cls, data: Mapping[str, object]) -> GenerationRequest:
        """Raises InvalidRequestError if an id is missing or not a UUID."""
        return cls(*(_uuid(data, key) for key in ("orderId", "userId", "customizationId")))

    def event_data(self) -> dict[str, str]:
        return {
            "orderId": self.order_id,
            "userId": self.user_id,
            "customizationId": self.customization_id,
        }

    def event_id(self, redrive: int = 0) -> str:
        """Derived from the order, so that Inngest starts nothing for a second send of it."""
        suffix = f"-redrive-{redrive}" if redrive else ""
        return f"song-generation-{self.order_id}{suffix}"

    def storage_path(self, variant_number: int) -> str:
        return f"{self.user_id}/{self.order_id}/variant-{variant_number}.mp3"


def _uuid(data: Mapping[str, object], key: str) -> str:
    value = parse_uuid(data.get(key))
    if value is None:
        raise InvalidRequestError(message=f"event data has no valid {key}")
    return value


def parse_uuid(value: object) -> str | None:
    """A UUID in its canonical form, or None for anything that is not the text of one."""
    if not isinstance(value, str) or len(value) != 36:
        return None
    try:
        return str(UUID(value))
    except ValueError:
        return None


@dataclass(frozen=True)
class Customization:
    """What the customer asked for: their own words, not to be logged or put into engine state."""

    recipient_name: str
    your_name: str
    occasion: str
    song_length_seconds: int
    mood: tuple[str, ...]
    genre: str
    special_memories: str
    things_to_avoid: str


@dataclass(frozen=True)
class Claim:
    decision: ClaimDecision
    reason: str | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Song:
    """Audio that has been checked: a complete MP3 of ``duration_ms``."""

    audio: bytes
    duration_ms: int
    provider_song_id: str | None = None


@dataclass(frozen=True)
class PurchaseResult:
    """How a call to the provider ended, for the ledger. ``fail`` ends the variant with it.

    ``operators_business``: a key, a plan or a quota, which no customer can do anything about.
    """

    outcome: Outcome
    reason: str
    http_status: int | None
    operators_business: bool
    fail: bool


@dataclass(frozen=True)
class VariantResult:
    """Where one attempt left a variant. ``reason`` is a code."""

    number: int
    state: VariantState
    reason: str | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class RecordedCheckout:
    """What storing a checkout event did. ``request`` is set where there is an order."""

    action: str
    status: str | None
    reason: str | None
    hand_over: bool
    request: GenerationRequest | None


@dataclass(frozen=True)
class RecordedRefund:
    action: str
    order_id: str | None
    status: str | None
    cancel_run: bool


@dataclass(frozen=True)
class Finding:
    """An order that the sweep found where it should not be."""

    kind: str
    request: GenerationRequest
    redrives: int
    status: str
    variant_number: int | None
