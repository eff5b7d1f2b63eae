"""Stripe events about a shop's payments, and genuine signatures for them.

Nothing here sends anything: see ``stripe_sender``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import stripe

from devstack.payments.charges import charge, dispute, refund
from devstack.payments.objects import Json, new_id, now
from devstack.payments.objects import checkout_session as checkout_session

API_VERSION = "2026-10-28.endive"


def event(
    type: str,
    object: Json,
    *,
    event_id: str | None = None,
    created: int | None = None,
    livemode: bool = False,
    rng: random.Random | None = None,
) -> Json:
    """The envelope Stripe posts. ``object`` goes in as it is: change a copy of it afterwards."""
    return {
        "id": event_id or new_id("evt", rng=rng),
        "object": "event",
        "api_version": API_VERSION,
        "created": created or now(),
        "data": {"object": object},
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
    }


def checkout_completed(session: Json, **envelope: Any) -> Json:
    """The customer finished Checkout; ``session["payment_status"]`` says whether money came.

    ``envelope`` here and below is ``event_id``, ``created`` and ``rng`` of ``event``.
    """
    return _checkout("completed", session, {}, envelope)


def async_payment_succeeded(session: Json, **envelope: Any) -> Json:
    """A delayed payment arrived: the session is now paid."""
    return _checkout("async_payment_succeeded", session, {"payment_status": "paid"}, envelope)


def async_payment_failed(session: Json, **envelope: Any) -> Json:
    """A delayed payment will not arrive: the session stays unpaid."""
    return _checkout("async_payment_failed", session, {"payment_status": "unpaid"}, envelope)


def expired(session: Json, **envelope: Any) -> Json:
    """Nobody finished Checkout in time."""
    changes = {"status": "expired", "payment_status": "unpaid", "payment_intent": None}
    return _checkout("expired", session, changes, envelope)


def _checkout(kind: str, session: Json, changes: Json, envelope: dict[str, Any]) -> Json:
    livemode = session["livemode"]
    return event(f"checkout.session.{kind}", session | changes, livemode=livemode, **envelope)


def charge_refunded(
    payment_intent: str,
    amount: int,
    amount_refunded: int,
    *,
    livemode: bool = False,
    **envelope: Any,
) -> Json:
    """Money went back: all of it where the two amounts are equal. The object is the charge."""
    refunded = charge(payment_intent, amount, amount_refunded, livemode=livemode)
    return event("charge.refunded", refunded, livemode=livemode, **envelope)


def refund_created(
    payment_intent: str, amount: int, status: str = "succeeded", **options: Any
) -> Json:
    """``options`` here and below: ``refund_id``, ``livemode`` and those of the envelope."""
    return _refund("created", payment_intent, amount, status, **options)


def refund_updated(
    payment_intent: str, amount: int, status: str = "succeeded", **options: Any
) -> Json:
    return _refund("updated", payment_intent, amount, status, **options)


def refund_failed(payment_intent: str, amount: int, **options: Any) -> Json:
    return _refund("failed", payment_intent, amount, "failed", **options)


def _refund(
    kind: str,
    payment_intent: str,
    amount: int,
    status: str,
    *,
    refund_id: str | None = None,
    rng: random.Random | None = None,
    **envelope: Any,
) -> Json:
    given = refund(payment_intent, amount, status, refund_id=refund_id, rng=rng)
    return event(f"refund.{kind}", given, rng=rng, **envelope)


def dispute_created(
    payment_intent: str,
    amount: int = 799,
    *,
    status: str = "needs_response",
    livemode: bool = False,
    rng: random.Random | None = None,
    **envelope: Any,
) -> Json:
    """The cardholder's bank took the money back, for now; ``status`` may already be ``lost``."""
    opened = dispute(payment_intent, amount, status=status, livemode=livemode, rng=rng)
    return event("charge.dispute.created", opened, livemode=livemode, rng=rng, **envelope)


def dispute_closed(
    payment_intent: str,
    amount: int = 799,
    *,
    status: str,
    livemode: bool = False,
    rng: random.Random | None = None,
    **envelope: Any,
) -> Json:
    """``status``: won, lost or warning_closed. It can come before ``dispute_created``."""
    closed = dispute(payment_intent, amount, status=status, livemode=livemode, rng=rng)
    return event("charge.dispute.closed", closed, livemode=livemode, rng=rng, **envelope)


def payload_of(event: Json) -> bytes:
    """The bytes Stripe would post, which are also the bytes it signs."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def signature_header(
    payload: bytes, secret: str | Sequence[str], *, timestamp: int | None = None
) -> str:
    """A genuine ``Stripe-Signature``, with one ``v1`` for each secret (two while one is rolled)."""
    secrets = [secret] if isinstance(secret, str) else list(secret)
    stamp = now() if timestamp is None else timestamp
    headers = [
        stripe.WebhookSignature.generate_signature_header(payload.decode(), each, stamp)
        for each in secrets
    ]
    return ",".join([f"t={stamp}", *(header.split(",", 1)[1] for header in headers)])
