"""What Stripe knows of a shop: its sessions, and the charges, refunds and disputes they lead to."""

from __future__ import annotations

from collections import Counter

from devstack.payments import events as stripe_events
from devstack.payments.charges import charge, refund
from devstack.payments.errors import StripeRefusal, invalid, missing
from devstack.payments.lists import Params, read_integer, refuse_unknown
from devstack.payments.objects import Json, charge_id

REFUND_PARAMS = ("payment_intent", "amount", "reason")
REFUND_REASONS = ("duplicate", "fraudulent", "requested_by_customer")
MONEY_BACK = ("pending", "requires_action", "succeeded")
"""States in which a refund counts against its charge."""


class StripeBooks:
    """``events`` are the events that Stripe would send for what was done through the API. Nobody
    sends them by itself."""

    def __init__(self) -> None:
        self.sessions: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.events: list[Json] = []

    def charges(self) -> dict[str, Json]:
        """One charge for every paid session, in its present state."""
        refunded = Counter[str]()
        for each in self.refunds.values():
            if each["status"] in MONEY_BACK:
                refunded[each["payment_intent"]] += each["amount"]
        disputed = {each["payment_intent"] for each in self.disputes.values()}
        paid = [
            session
            for session in self.sessions.values()
            if session["payment_status"] == "paid" and session["payment_intent"]
        ]
        return {
            charge_id(own := session["payment_intent"]): charge(
                own,
                session["amount_total"],
                refunded[own],
                currency=session["currency"],
                livemode=session["livemode"],
                created=session["created"],
                disputed=own in disputed,
            )
            for session in paid
        }

    def create_refund(self, params: Params) -> Json:
        """``POST /v1/refunds``: give back an amount, or all that is left."""
        payment_intent, wanted, reason = _read_refund(params)
        paid = self._refundable_charge(payment_intent)
        left = paid["amount"] - paid["amount_refunded"]
        amount = left if wanted is None else wanted
        if amount > left:
            message = f"Refund amount ({amount} {paid['currency']}) is greater than unrefunded "
            raise invalid("amount", f"{message}amount on charge ({left} {paid['currency']})")
        metadata = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in params.items()
            if name.startswith("metadata[")
        }
        given = refund(
            payment_intent, amount, reason=reason, currency=paid["currency"], metadata=metadata
        )
        self.refunds[given["id"]] = given
        self._tell(given)
        return given

    def _refundable_charge(self, payment_intent: str) -> Json:
        known = {session["payment_intent"] for session in self.sessions.values()}
        if payment_intent not in known:
            raise missing("payment_intent", payment_intent, "payment_intent", status=400)
        paid = self.charges().get(charge_id(payment_intent))
        if paid is None:
            message = f"This PaymentIntent ({payment_intent}) does not have a successful charge"
            raise StripeRefusal(400, f"{message} to refund.", executed=True)
        if paid["disputed"]:
            message = f"Charge {paid['id']} has been charged back; cannot issue a refund."
            raise StripeRefusal(400, message, code="charge_disputed", executed=True)
        if paid["refunded"]:
            message = f"Charge {paid['id']} has already been refunded."
            raise StripeRefusal(400, message, code="charge_already_refunded", executed=True)
        return paid

    def _tell(self, given: Json) -> None:
        paid = self.charges()[given["charge"]]
        livemode = paid["livemode"]
        self.events += [
            stripe_events.event("refund.created", given, livemode=livemode),
            stripe_events.event("charge.refunded", paid, livemode=livemode),
        ]


def _read_refund(params: Params) -> tuple[str, int | None, str | None]:
    """The payment intent, the amount (None for all that is left) and the reason, checked."""
    metadata = [name for name in params if name.startswith("metadata[") and name.endswith("]")]
    refuse_unknown(params, (*REFUND_PARAMS, *metadata))
    if not params.get("payment_intent"):
        message = "One of the following params should be provided for this request: payment_intent."
        raise invalid("payment_intent", message, "parameter_missing")
    reason = params.get("reason")
    if reason is not None and reason not in REFUND_REASONS:
        raise invalid("reason", f"Invalid reason: must be one of {', '.join(REFUND_REASONS)}")
    amount = read_integer(params, "amount") if "amount" in params else None
    if amount is not None and amount < 1:
        raise invalid("amount", "Invalid positive integer", "parameter_invalid_integer")
    return params["payment_intent"], amount, reason
