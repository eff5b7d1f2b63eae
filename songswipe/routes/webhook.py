"""``POST /api/webhook``: verify, decide, store, hand over, answer.

2xx: stored, known, or deliberately ignored. 4xx: not from Stripe, or not readable. 503: try again.
Once an event is stored the answer is 200, also if Inngest cannot be reached: the sweep hands the
order over later. A time budget covers everything, so that Stripe is never kept waiting.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import stripe
from flask import Blueprint, Response, request

from songswipe.checkout import (
    CheckoutChange,
    Ignored,
    PaymentChange,
    StripeEvent,
    decide,
    parse_event,
)
from songswipe.errors import (
    HandoverError,
    InvalidEventError,
    StoreRejectedError,
    StoreUnavailableError,
)
from songswipe.events import EventSender
from songswipe.models import RecordedCheckout
from songswipe.patience import BoundedCaller, DeadlineExceededError, TimeBudget
from songswipe.routes.answers import answer
from songswipe.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

# Stripe's own default: an event signed longer ago is taken for a replay.
_TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Webhook:
    store: Store
    sender: EventSender
    caller: BoundedCaller
    secrets: tuple[str, ...]
    livemode: bool
    budget_seconds: float
    max_body_bytes: int

    def create_blueprint(self) -> Blueprint:
        bp = Blueprint("webhook", __name__)
        bp.post("/api/webhook")(self.receive)
        return bp

    def receive(self) -> Response:
        budget = TimeBudget(self.budget_seconds)
        request.max_content_length = self.max_body_bytes
        body = request.get_data()
        try:
            event = verified_event(body, request.headers.get("Stripe-Signature"), self.secrets)
            decision = decide(event, livemode=self.livemode)
        except InvalidEventError as error:
            log.warning("webhook refused: %s", error)
            return answer(400, error=error.code)
        try:
            match decision:
                case Ignored():
                    return self._ignore(event, decision)
                case CheckoutChange():
                    return self._record_checkout(event, decision, budget)
                case PaymentChange():
                    return self._record_payment(event, decision, budget)
        except (StoreUnavailableError, StoreRejectedError, DeadlineExceededError) as error:
            log.error("event %s (%s) not stored: %s", event.id, event.type, error or "too slow")
            return answer(503, error="not_stored")
        except RecursionError:
            log.warning("webhook refused: event %s is nested too deeply", event.id)
            return answer(400, error="nested_too_deeply")

    def _ignore(self, event: StripeEvent, decision: Ignored) -> Response:
        level = logging.WARNING if decision.reason == "livemode_mismatch" else logging.INFO
        log.log(level, "event %s (%s) ignored: %s", event.id, event.type, decision.reason)
        return answer(200, received=True, action="ignored", reason=decision.reason)

    def _record_checkout(
        self, event: StripeEvent, change: CheckoutChange, budget: TimeBudget
    ) -> Response:
        recorded = self._within(budget, lambda: self.store.record_checkout(event, change))
        order_id = recorded.request.order_id if recorded.request else None
        log.info(
            "event %s (%s): session %s %s, order %s",
            event.id,
            event.type,
            change.session_id,
            recorded.action,
            order_id,
        )
        handed_over = self._hand_over(recorded, budget) if recorded.hand_over else None
        return answer(
            200,
            received=True,
            action=recorded.action,
            orderId=order_id,
            status=recorded.status,
            reason=recorded.reason,
            handedOver=handed_over,
        )

    def _hand_over(self, recorded: RecordedCheckout, budget: TimeBudget) -> bool:
        assert recorded.request is not None
        order_id = recorded.request.order_id
        try:
            self.sender.request_generation(recorded.request, budget.left_seconds)
        except HandoverError as error:
            log.warning("order %s stays with the sweep: %s", order_id, error)
            return False
        try:
            self._within(budget, lambda: self.store.mark_handed_over(order_id))
        except (StoreUnavailableError, StoreRejectedError, DeadlineExceededError) as error:
            # The sweep will hand it over once more, under the same id: that starts nothing.
            log.warning("order %s: handover not noted: %s", order_id, error or "too slow")
        return True

    def _record_payment(
        self, event: StripeEvent, change: PaymentChange, budget: TimeBudget
    ) -> Response:
        recorded = self._within(budget, lambda: self.store.record_refund(event, change))
        log.info(
            "event %s (%s): payment %s %s, order %s",
            event.id,
            event.type,
            change.payment_intent,
            recorded.action,
            recorded.order_id,
        )
        if change.refund_failed:
            log.warning(
                "order %s: a refund of payment %s failed; pay it back in another way",
                recorded.order_id,
                change.payment_intent,
            )
        if recorded.cancel_run and recorded.order_id is not None:
            try:
                self.sender.cancel_generation(recorded.order_id, budget.left_seconds)
            except HandoverError as error:
                # No purchase starts for a refunded order, cancelled or not.
                log.warning("order %s: run not cancelled: %s", recorded.order_id, error)
        return answer(
            200,
            received=True,
            action=recorded.action,
            orderId=recorded.order_id,
            status=recorded.status,
        )

    def _within(self, budget: TimeBudget, call: Callable[[], T]) -> T:
        return self.caller.call(call, budget.left_seconds)


def verified_event(body: bytes, signature: str | None, secrets: tuple[str, ...]) -> StripeEvent:
    """The event in a webhook body, if it is signed with one of the secrets and readable.

    Raises InvalidEventError for everything that is not.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidEventError("not_utf8") from None
    if not any(_is_signed(text, signature or "", secret) for secret in secrets):
        raise InvalidEventError("signature_invalid")
    try:
        payload = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidEventError("not_json") from None
    return parse_event(payload)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_signed(text: str, signature: str, secret: str) -> bool:
    try:
        return bool(
            stripe.WebhookSignature.verify_header(
                text, signature, secret, tolerance=_TOLERANCE_SECONDS
            )
        )
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        # TypeError: the library compares a signature that is not ASCII. Anyone can send one.
        return False
