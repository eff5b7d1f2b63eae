from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from devstack.payments import events
from devstack.payments.charges import charge, dispute, refund

SECRET = "whsec_first"
IDS = {"user_id": "user-1", "customization_id": "customization-1"}
SESSION = events.checkout_session(**IDS, session_id="cs_test_1", payment_intent="pi_1")

ALL_EVENTS = [
    events.checkout_completed(SESSION),
    events.async_payment_succeeded(SESSION),
    events.async_payment_failed(SESSION),
    events.expired(SESSION),
    events.charge_refunded("pi_1", 799, 799),
    events.refund_created("pi_1", 799, "pending"),
    events.refund_updated("pi_1", 799),
    events.refund_failed("pi_1", 799),
    events.dispute_created("pi_1"),
    events.dispute_closed("pi_1", status="lost"),
]


def verify(payload: bytes, header: str, secret: str = SECRET) -> stripe.Event:
    return stripe.Webhook.construct_event(payload, header, secret)


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: event["type"])
def test_stripe_s_own_library_accepts_and_types_every_event(event: dict[str, Any]) -> None:
    """The signature verifies over the very bytes, and the object becomes its own class."""
    payload = events.payload_of(event)
    verified = verify(payload, events.signature_header(payload, SECRET))

    assert verified.to_dict() == event
    assert type(verified.data.object) is not stripe.StripeObject
    assert verified.data.object.payment_intent in ("pi_1", None)


def test_a_payload_keeps_every_letter() -> None:
    session = events.checkout_session(**IDS, metadata={"word": "Zoë 🎂"})
    payload = events.payload_of(events.checkout_completed(session))

    assert "Zoë 🎂".encode() in payload
    assert verify(payload, events.signature_header(payload, SECRET)).id.startswith("evt_")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda payload: (payload + b" ", events.signature_header(payload, SECRET)), "No sign"),
        (lambda payload: (payload, events.signature_header(payload, "whsec_other")), "No sign"),
        (
            lambda payload: (
                payload,
                events.signature_header(payload, SECRET, timestamp=int(time.time()) - 301),
            ),
            "Timestamp",
        ),
    ],
    ids=["other body", "other secret", "too old"],
)
def test_a_signature_vouches_for_body_secret_and_time(
    spoil: Callable[[bytes], tuple[bytes, str]], message: str
) -> None:
    payload, header = spoil(events.payload_of(ALL_EVENTS[0]))

    with pytest.raises(stripe.SignatureVerificationError, match=message):
        verify(payload, header)


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
def test_while_a_secret_is_rolled_either_verifies(secret: str) -> None:
    payload = events.payload_of(ALL_EVENTS[0])
    header = events.signature_header(payload, ["whsec_old", "whsec_new"])

    assert header.count("v1=") == 2
    assert verify(payload, header, secret)


def test_a_session_carries_what_makes_it_ours() -> None:
    session = events.checkout_session(**IDS)

    assert session["metadata"] == {"userId": "user-1", "customizationId": "customization-1"}
    assert session["id"].startswith("cs_test_")
    assert session["payment_intent"].startswith("pi_")
    assert session["expires_at"] - session["created"] == 86_400
    assert session["customer_details"]["name"] is None


@pytest.mark.parametrize(
    ("changes", "charged"),
    [
        ({}, True),
        ({"payment_status": "unpaid"}, True),
        ({"payment_status": "no_payment_required", "amount_total": 0}, False),
        ({"payment_status": "unpaid", "status": "open"}, False),
    ],
)
def test_a_payment_intent_exists_where_there_is_something_to_pay(
    changes: dict[str, Any], charged: bool
) -> None:
    assert bool(events.checkout_session(**IDS, **changes)["payment_intent"]) == charged


def test_a_live_session_gives_live_events() -> None:
    session = events.checkout_session(**IDS, livemode=True)

    assert session["id"].startswith("cs_live_")
    assert events.checkout_completed(session)["livemode"] is True
    assert events.checkout_completed(SESSION)["livemode"] is False


def test_the_checkout_events_tell_the_story_of_the_money() -> None:
    delayed = events.checkout_session(**IDS, payment_status="unpaid")
    told = {
        event["type"].rpartition(".")[2]: event["data"]["object"]
        for event in (
            events.checkout_completed(delayed),
            events.async_payment_succeeded(delayed),
            events.async_payment_failed(delayed),
            events.expired(delayed),
        )
    }

    assert {kind: seen["payment_status"] for kind, seen in told.items()} == {
        "completed": "unpaid",
        "async_payment_succeeded": "paid",
        "async_payment_failed": "unpaid",
        "expired": "unpaid",
    }
    assert told["expired"]["status"] == "expired"
    assert told["expired"]["payment_intent"] is None
    assert len({seen["id"] for seen in told.values()}) == 1


@pytest.mark.parametrize(("given_back", "whole"), [(0, False), (400, False), (799, True)])
def test_a_charge_is_refunded_only_when_all_of_it_is(given_back: int, whole: bool) -> None:
    event = events.charge_refunded("pi_1", 799, given_back)

    assert event["data"]["object"]["refunded"] is whole
    assert event["data"]["object"]["amount_refunded"] == given_back


def test_charge_refund_and_dispute_agree_on_the_charge() -> None:
    ids = {charge("pi_1", 1)["id"], refund("pi_1", 1)["charge"], dispute("pi_1", 1)["charge"]}

    assert ids == {"ch_1"}


def test_a_seed_repeats_ids_and_without_one_they_differ() -> None:
    def ids(rng: random.Random | None) -> str:
        session = events.checkout_session(**IDS, rng=rng)
        event = events.checkout_completed(session, rng=rng)
        return json.dumps([session["id"], session["payment_intent"], event["id"]])

    assert ids(random.Random(4)) == ids(random.Random(4))
    assert ids(None) != ids(None)
