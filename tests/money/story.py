"""What can happen to one Checkout Session, and how it has to end, whatever arrives first."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from devstack.payments import events as stripe_events
from devstack.payments.objects import Json


class Told(Enum):
    """What Stripe can say of a session and its payment."""

    UNPAID = "completed, not paid yet"
    PAID = "completed and paid"
    SUCCEEDED = "the delayed payment came"
    FAILED = "the delayed payment will not come"
    EXPIRED = "nobody finished it"
    REFUNDED = "all of it given back"
    DISPUTED = "the bank took it back"
    REFUND = "one refund, of all of it"
    PART = "a part given back"
    PARTIAL_REFUND = "one refund, of a part"

    def event(self, session: Json) -> Json:
        """A new event that says so."""
        payment_intent, amount = session["payment_intent"], session["amount_total"]
        build = stripe_events
        match self:
            case Told.UNPAID:
                return build.checkout_completed(session | {"payment_status": "unpaid"})
            case Told.PAID:
                return build.checkout_completed(session)
            case Told.SUCCEEDED:
                return build.async_payment_succeeded(session)
            case Told.FAILED:
                return build.async_payment_failed(session)
            case Told.EXPIRED:
                return build.expired(session)
            case Told.REFUNDED:
                return build.charge_refunded(payment_intent, amount, amount)
            case Told.DISPUTED:
                return build.dispute_created(payment_intent, amount)
            case Told.REFUND:
                return build.refund_created(payment_intent, amount, "pending")
            case Told.PART:
                return build.charge_refunded(payment_intent, amount, amount // 2)
            case Told.PARTIAL_REFUND:
                return build.refund_created(payment_intent, amount // 2)


SESSION_AND_END = (
    Told.UNPAID,
    Told.PAID,
    Told.SUCCEEDED,
    Told.FAILED,
    Told.EXPIRED,
    Told.REFUNDED,
    Told.DISPUTED,
)
_PAYS = {Told.PAID, Told.SUCCEEDED}
_ENDS = {Told.REFUNDED, Told.DISPUTED, Told.REFUND}
_CANCELS = {Told.FAILED, Told.EXPIRED}


def end_state(told: Iterable[Told]) -> str | None:
    """The order's state, as far as Stripe decides it: ``paid`` is what generation begins from.
    None: there is no order."""
    heard = set(told)
    if heard & _PAYS:
        return "refunded" if heard & _ENDS else "paid"
    if Told.UNPAID in heard:
        return "canceled" if heard & _CANCELS else "pending"
    return None


def amount_given_back(told: Iterable[Told], amount: int) -> int | None:
    """What the order says was given back, in minor units; a dispute is not a refund."""
    heard = set(told)
    if heard & {Told.REFUNDED, Told.REFUND}:
        return amount
    return amount // 2 if heard & {Told.PART, Told.PARTIAL_REFUND} else None
