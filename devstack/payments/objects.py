"""Stripe objects with every field that Stripe's API 2026-10-28.endive sends.

They belong to a hosted Checkout page in ``payment`` mode. Nobody's name is in them; the buyer's
address is the one personal field, there so that it can be seen not to be kept.
"""

from __future__ import annotations

import random
import string
import time
from types import EllipsisType
from typing import Any

Json = dict[str, Any]

BUYER_EMAIL = "buyer@example.test"
ID_CHARS = string.ascii_letters + string.digits
SESSION_LIFETIME_SECONDS = 24 * 3600
_random = random.SystemRandom()


def new_id(prefix: str, length: int = 24, rng: random.Random | None = None) -> str:
    """An id such as Stripe makes; ``rng`` makes it repeatable."""
    return f"{prefix}_" + "".join((rng or _random).choices(ID_CHARS, k=length))


def charge_id(payment_intent: str) -> str:
    """The id of a payment intent's one charge, so that independent objects agree on it."""
    return "ch_" + payment_intent.removeprefix("pi_")


def now() -> int:
    return int(time.time())


def checkout_session(
    *,
    session_id: str | None = None,
    user_id: str,
    customization_id: str,
    payment_status: str = "paid",
    amount_total: int | None = 799,
    currency: str | None = "usd",
    payment_intent: str | EllipsisType | None = ...,
    livemode: bool = False,
    status: str = "complete",
    metadata: dict[str, str] | None = None,
    created: int | None = None,
    rng: random.Random | None = None,
) -> Json:
    """A Checkout Session as the events and the API show it.

    ``metadata`` replaces the two ids that make a session ours. Left out, ``payment_intent`` is a
    new one where there is something to pay and the session is complete, and null otherwise.
    """
    mode = "live" if livemode else "test"
    if isinstance(payment_intent, EllipsisType):
        charged = status == "complete" and payment_status != "no_payment_required"
        payment_intent = new_id("pi", rng=rng) if charged else None
    ours = {"customizationId": customization_id, "userId": user_id}
    return _session_template(created or now()) | {
        "id": session_id or new_id(f"cs_{mode}", 58, rng),
        "amount_subtotal": amount_total,
        "amount_total": amount_total,
        "currency": currency,
        "livemode": livemode,
        "metadata": ours if metadata is None else metadata,
        "payment_intent": payment_intent,
        "payment_status": payment_status,
        "status": status,
    }


def _session_template(created: int) -> Json:
    """What is the same in all our sessions. Fields not named here are null."""
    nulls = """after_expiration allow_promotion_codes billing_address_collection
        client_reference_id client_secret collected_information consent consent_collection
        currency_conversion customer customer_account customer_email invoice locale origin_context
        payment_link payment_method_configuration_details permissions presentment_details
        recovered_from saved_payment_method_options setup_intent shipping_address_collection
        shipping_cost submit_type subscription url wallet_options"""
    terms = ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
    return dict.fromkeys(nulls.split()) | {
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": "https://example.test/cancel",
        "created": created,
        "custom_fields": [],
        "custom_text": dict.fromkeys(terms),
        "customer_creation": "if_required",
        "customer_details": _customer_details(),
        "discounts": [],
        "expires_at": created + SESSION_LIFETIME_SECONDS,
        "invoice_creation": {"enabled": False, "invoice_data": _invoice_data()},
        "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "success_url": "https://example.test/ok?session_id={CHECKOUT_SESSION_ID}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }


def _customer_details() -> Json:
    address = dict.fromkeys(("city", "line1", "line2", "postal_code", "state"))
    return {
        "address": {**address, "country": "DE"},
        "business_name": None,
        "email": BUYER_EMAIL,
        "individual_name": None,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _invoice_data() -> Json:
    nulls = ("account_tax_ids", "custom_fields", "description", "footer", "issuer")
    return {**dict.fromkeys(nulls), "metadata": {}, "rendering_options": None}
