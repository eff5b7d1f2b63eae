"""What a Stripe event means for us. Pure: no network, no database, no Stripe library.

An event becomes one of three decisions: leave it (``Ignored``), something happened to a Checkout
Session of ours (``CheckoutChange``), or to a payment (``PaymentChange``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from songswipe.errors import InvalidEventError
from songswipe.models import parse_uuid

CheckoutOutcome = Literal["paid", "pending", "canceled"]

FULFILLING_PAYMENT_STATES = frozenset({"paid", "no_payment_required"})
"""Stripe's payment_status values with which an order is fulfilled."""

_CHECKOUT_EVENTS = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
    }
)


@dataclass(frozen=True)
class StripeEvent:
    """The envelope of an event, checked; ``object`` is its ``data.object``."""

    id: str
    type: str
    created: datetime
    livemode: bool
    object: Mapping[str, Any]
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Ignored:
    reason: str


@dataclass(frozen=True)
class CheckoutChange:
    """A Checkout Session that is ours. ``problem`` says why it cannot become an order, if so."""

    session_id: str
    outcome: CheckoutOutcome
    payment_intent: str | None
    user_id: str | None
    customization_id: str | None
    amount: int | None
    currency: str | None
    problem: str | None


@dataclass(frozen=True)
class PaymentChange:
    """A refund or a dispute.

    ``amount_refunded`` is what the whole charge has given back so far, ``refund_amount`` what this
    refund gives back. ``ends_payment``: Stripe says that nothing is left, or the bank may take it.
    ``refund_failed``: money that was on its way back has not arrived.
    """

    payment_intent: str
    amount_refunded: int | None = None
    refund_amount: int | None = None
    ends_payment: bool = False
    refund_failed: bool = False


Decision = Ignored | CheckoutChange | PaymentChange


def parse_event(payload: object) -> StripeEvent:
    """Checks the envelope of a verified event.

    Raises InvalidEventError where it is no event at all, so that Stripe shows it as failed.
    """
    if not isinstance(payload, Mapping):
        raise InvalidEventError("not_an_event", "the body is not a JSON object")
    event_id, event_type = payload.get("id"), payload.get("type")
    if not _is_text(event_id) or not _is_text(event_type):
        raise InvalidEventError("not_an_event", "the event has no id or no type")
    data = payload.get("data")
    subject = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(subject, Mapping):
        if event_type in _CHECKOUT_EVENTS or event_type in _PAYMENT_EVENTS:
            raise InvalidEventError("not_an_event", "the event has no data.object")
        subject = {}
    return StripeEvent(
        id=str(event_id),
        type=str(event_type),
        created=_time(payload.get("created")),
        livemode=payload.get("livemode") is True,
        object=subject,
        raw=payload,
    )


def decide(event: StripeEvent, *, livemode: bool) -> Decision:
    """What to do about an event, in a deployment for live or for test payments.

    Raises InvalidEventError for an event of a kind we handle that lacks what identifies it.
    """
    if event.type not in _CHECKOUT_EVENTS and event.type not in _PAYMENT_EVENTS:
        return Ignored("event_type_not_handled")
    if event.livemode != livemode:
        return Ignored("livemode_mismatch")
    if event.type in _CHECKOUT_EVENTS:
        return decide_checkout(event.type, event.object)
    return _PAYMENT_EVENTS[event.type](event.object)


def decide_checkout(event_type: str, session: Mapping[str, Any]) -> Decision:
    """What a Checkout Session, of an event of this type, means."""
    metadata = session.get("metadata")
    if not isinstance(metadata, Mapping) or not {"customizationId", "userId"} & set(metadata):
        return Ignored("session_not_ours")
    session_id = session.get("id")
    if not _is_text(session_id):
        raise InvalidEventError("not_an_event", "the Checkout Session has no id")
    outcome, problem = _payment_outcome(event_type, session.get("payment_status"))
    user_id = parse_uuid(metadata.get("userId"))
    customization_id = parse_uuid(metadata.get("customizationId"))
    if user_id is None:
        problem = problem or "user_id_malformed"
    if customization_id is None:
        problem = problem or "customization_id_malformed"
    return CheckoutChange(
        session_id=str(session_id),
        outcome=outcome,
        payment_intent=_reference(session.get("payment_intent")),
        user_id=user_id,
        customization_id=customization_id,
        amount=_amount(session.get("amount_total")),
        currency=_currency(session.get("currency")),
        problem=problem,
    )


def _payment_outcome(event_type: str, payment_status: object) -> tuple[CheckoutOutcome, str | None]:
    """What the event says of the payment, and the problem where it says nothing we know."""
    if event_type in ("checkout.session.async_payment_failed", "checkout.session.expired"):
        return "canceled", None
    if payment_status in FULFILLING_PAYMENT_STATES:
        return "paid", None
    if payment_status == "unpaid" and event_type == "checkout.session.completed":
        return "pending", None
    # Money may have been taken, so a person has to look.
    return "paid", "payment_status_unknown"


def _decide_refunded_charge(charge: Mapping[str, Any]) -> Decision:
    payment_intent = _reference(charge.get("payment_intent"))
    if payment_intent is None:
        return Ignored("no_payment_intent")
    amount_refunded = _amount(charge.get("amount_refunded"))
    # Fires for partial refunds too; ``refunded`` is true for a full one only.
    return PaymentChange(
        payment_intent, amount_refunded, ends_payment=charge.get("refunded") is True
    )


def decide_refund(refund: Mapping[str, Any]) -> Decision:
    """What a Refund, of an event or of Stripe's list, means."""
    payment_intent = _reference(refund.get("payment_intent"))
    if payment_intent is None:
        return Ignored("no_payment_intent")
    under_way = refund.get("status") in ("pending", "requires_action", "succeeded")
    return PaymentChange(
        payment_intent,
        refund_amount=_amount(refund.get("amount")) if under_way else None,
        refund_failed=refund.get("status") in ("failed", "canceled"),
    )


def decide_dispute(dispute: Mapping[str, Any]) -> Decision:
    """What a Dispute, of an event or of Stripe's list, means."""
    payment_intent = _reference(dispute.get("payment_intent"))
    if payment_intent is None:
        return Ignored("no_payment_intent")
    return PaymentChange(payment_intent, ends_payment=True)


_PAYMENT_EVENTS = {
    "charge.refunded": _decide_refunded_charge,
    "refund.created": decide_refund,
    "refund.updated": decide_refund,
    "refund.failed": decide_refund,
    "charge.dispute.created": decide_dispute,
}


def _is_text(value: object) -> bool:
    """Whether it can be one of Stripe's ids or names, which are plain ASCII."""
    is_plain = isinstance(value, str) and value.isascii() and value.isprintable()
    return is_plain and 0 < len(value) <= 255  # type: ignore[arg-type]


def _reference(value: object) -> str | None:
    """An id that Stripe may have expanded into the object it names."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and _is_text(value) else None


def _amount(value: object) -> int | None:
    """Minor units. 0 is an amount; anything but a number the database can hold is none."""
    is_amount = isinstance(value, int) and not isinstance(value, bool)
    return value if is_amount and 0 <= value < 2**31 else None  # type: ignore[operator,return-value]


def _currency(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and value.isalpha() and len(value) == 3 else None


def _time(value: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(value), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
