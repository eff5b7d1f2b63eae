"""What follows a payment, in Stripe's shapes: charges, refunds and disputes."""

from __future__ import annotations

import random

from devstack.payments.objects import BUYER_EMAIL, Json, charge_id, new_id, now


def charge(
    payment_intent: str,
    amount: int,
    amount_refunded: int = 0,
    *,
    currency: str = "usd",
    livemode: bool = False,
    created: int | None = None,
    disputed: bool = False,
) -> Json:
    """The charge of a payment intent; ``refunded`` only once all of it was given back."""
    nulls = """application application_fee application_fee_amount authorization_code customer
        description failure_balance_transaction failure_code failure_message level3 on_behalf_of
        payment_method_details presentment_details receipt_email receipt_number review shipping
        source source_transfer statement_descriptor statement_descriptor_suffix transfer_data
        transfer_group"""
    own = charge_id(payment_intent)
    return dict.fromkeys(nulls.split()) | {
        "id": own,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": amount_refunded,
        "balance_transaction": own.replace("ch_", "txn_"),
        "billing_details": _billing_details(),
        "calculated_statement_descriptor": "SONGSWIPE",
        "captured": True,
        "created": created or now(),
        "currency": currency,
        "disputed": disputed,
        "fraud_details": {},
        "livemode": livemode,
        "metadata": {},
        "outcome": _outcome(),
        "paid": True,
        "payment_intent": payment_intent,
        "payment_method": own.replace("ch_", "pm_"),
        "radar_options": {},
        "receipt_url": f"https://example.test/receipts/{own}",
        "refunded": amount_refunded >= amount,
        "status": "succeeded",
    }


def _billing_details() -> Json:
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    nulls = dict.fromkeys(("name", "phone", "tax_id"))
    return {"address": address, "email": BUYER_EMAIL, **nulls}


def _outcome() -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def refund(
    payment_intent: str,
    amount: int,
    status: str = "succeeded",
    *,
    refund_id: str | None = None,
    reason: str | None = "requested_by_customer",
    currency: str = "usd",
    metadata: dict[str, str] | None = None,
    created: int | None = None,
    rng: random.Random | None = None,
) -> Json:
    """A refund. ``status``: pending, requires_action, succeeded, failed or canceled."""
    own = refund_id or new_id("re", rng=rng)
    answer: Json = {
        "id": own,
        "object": "refund",
        "amount": amount,
        "balance_transaction": own.replace("re_", "txn_"),
        "charge": charge_id(payment_intent),
        "created": created or now(),
        "currency": currency,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": metadata or {},
        "payment_intent": payment_intent,
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "failed":
        answer |= {"failure_reason": "lost_or_stolen_card", "failure_balance_transaction": None}
    return answer


def dispute(
    payment_intent: str,
    amount: int = 799,
    *,
    dispute_id: str | None = None,
    status: str = "needs_response",
    reason: str = "fraudulent",
    currency: str = "usd",
    livemode: bool = False,
    created: int | None = None,
    rng: random.Random | None = None,
) -> Json:
    """A dispute of the whole charge. ``status`` can be ``lost`` from the start."""
    opened = created or now()
    return {
        "id": dispute_id or new_id("dp", rng=rng),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge_id(payment_intent),
        "created": opened,
        "currency": currency,
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": opened + 7 * 24 * 3600,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": livemode,
        "metadata": {},
        "network_reason_code": "10.4",
        "payment_intent": payment_intent,
        "payment_method_details": None,
        "reason": reason,
        "status": status,
    }
