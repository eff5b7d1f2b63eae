"""What every event of Stripe's means, whatever its payment's state and its metadata's shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.payments import events as stripe_events
from songswipe.checkout import (
    CheckoutChange,
    Decision,
    Ignored,
    PaymentChange,
    decide,
    parse_event,
)
from songswipe.errors import InvalidEventError

Json = dict[str, Any]

USER = "11111111-1111-4111-8111-111111111111"
CUSTOMIZATION = "22222222-2222-4222-8222-222222222222"
OURS = {"userId": USER, "customizationId": CUSTOMIZATION}

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"


def session(**changes: Any) -> Json:
    made = stripe_events.checkout_session(
        user_id=USER, customization_id=CUSTOMIZATION, session_id="cs_1", payment_intent="pi_1"
    )
    return made | changes


def decide_on(event_type: str, subject: object, *, live: bool = False, **envelope: Any) -> Decision:
    event = stripe_events.event(event_type, {}, event_id="evt_1")
    return decide(parse_event(event | {"data": {"object": subject}} | envelope), livemode=live)


def change_for(event_type: str = COMPLETED, **changes: Any) -> CheckoutChange:
    decision = decide_on(event_type, session(**changes))
    assert isinstance(decision, CheckoutChange)
    return decision


# What a session's events mean

MEANINGS = {
    (COMPLETED, "paid"): ("paid", None),
    (COMPLETED, "no_payment_required"): ("paid", None),
    (COMPLETED, "unpaid"): ("pending", None),
    (COMPLETED, None): ("paid", "payment_status_unknown"),
    (COMPLETED, "new_word"): ("paid", "payment_status_unknown"),
    (SUCCEEDED, "paid"): ("paid", None),
    (SUCCEEDED, "no_payment_required"): ("paid", None),
    (SUCCEEDED, "unpaid"): ("paid", "payment_status_unknown"),
    (SUCCEEDED, None): ("paid", "payment_status_unknown"),
    (SUCCEEDED, "new_word"): ("paid", "payment_status_unknown"),
    **{(FAILED, status): ("canceled", None) for status in ("paid", "unpaid", None, "new_word")},
    **{(EXPIRED, status): ("canceled", None) for status in ("paid", "unpaid", None, "new_word")},
}


@pytest.mark.parametrize(("event_type", "payment_status"), MEANINGS)
def test_type_and_payment_status_together_say_what_became_of_the_money(
    event_type: str, payment_status: str | None
) -> None:
    """Where they say nothing we know, money may have been taken, and a person has to look."""
    change = change_for(event_type, payment_status=payment_status)

    assert (change.outcome, change.problem) == MEANINGS[event_type, payment_status]


def test_a_paid_session_says_all_that_an_order_needs() -> None:
    assert change_for(amount_total=1990, currency="EUR") == CheckoutChange(
        session_id="cs_1",
        outcome="paid",
        payment_intent="pi_1",
        user_id=USER,
        customization_id=CUSTOMIZATION,
        amount=1990,
        currency="eur",
        problem=None,
    )


METADATA: dict[str, tuple[object, str | None]] = {
    "both ids": (OURS, None),
    "other keys as well": (OURS | {"campaign": "autumn"}, None),
    "capitals": ({key: value.upper() for key, value in OURS.items()}, None),
    "no user": ({"customizationId": CUSTOMIZATION}, "user_id_malformed"),
    "no customization": ({"userId": USER}, "customization_id_malformed"),
    "user empty": (OURS | {"userId": ""}, "user_id_malformed"),
    "user no uuid": (OURS | {"userId": "42"}, "user_id_malformed"),
    "user a number": (OURS | {"userId": 42}, "user_id_malformed"),
    "user null": (OURS | {"userId": None}, "user_id_malformed"),
    "user without dashes": (OURS | {"userId": USER.replace("-", "")}, "user_id_malformed"),
    "user in braces": (OURS | {"userId": f"{{{USER}}}"}, "user_id_malformed"),
    "user with a space": (OURS | {"userId": f"{USER} "}, "user_id_malformed"),
    "user in other digits": (OURS | {"userId": USER.replace("1", "١")}, None),
    "customization no uuid": (OURS | {"customizationId": "x" * 36}, "customization_id_malformed"),
    "neither a uuid": ({"userId": "1", "customizationId": "2"}, "user_id_malformed"),
}


@pytest.mark.parametrize("shape", METADATA)
@pytest.mark.parametrize("event_type", [COMPLETED, SUCCEEDED, FAILED, EXPIRED])
def test_a_session_with_one_of_our_ids_is_ours_and_a_bad_id_is_a_problem(
    shape: str, event_type: str
) -> None:
    metadata, problem = METADATA[shape]
    change = change_for(event_type, payment_status="paid", metadata=metadata)

    assert change.problem == problem


@pytest.mark.parametrize("shape", METADATA)
def test_ids_that_are_passed_on_are_in_the_form_that_the_database_gives_back(shape: str) -> None:
    metadata, _ = METADATA[shape]
    change = change_for(metadata=metadata)

    assert change.user_id in (USER, None)
    assert change.customization_id in (CUSTOMIZATION, None)
    assert (change.user_id is None or change.customization_id is None) == bool(change.problem)


@pytest.mark.parametrize("event_type", [COMPLETED, SUCCEEDED, FAILED, EXPIRED])
@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"order_id": "7f3c"}, {"userid": USER}, [], ["userId"], "userId", 7, True],
)
def test_a_session_with_none_of_our_ids_is_not_ours(metadata: object, event_type: str) -> None:
    decision = decide_on(event_type, session(metadata=metadata))

    assert decision == Ignored("session_not_ours")


def test_a_session_without_metadata_is_not_ours() -> None:
    subject = session()
    del subject["metadata"]

    assert decide_on(COMPLETED, subject) == Ignored("session_not_ours")


# Odd values in a session


@pytest.mark.parametrize(
    "session_id", [None, "", 7, [], {}, "x" * 256, "cs_\0", "cs_é", "cs 1\n", "cs_\ud800"]
)
def test_a_session_of_ours_without_an_id_is_no_event(session_id: object) -> None:
    """Stripe shows it as failed: nothing could be stored under it."""
    with pytest.raises(InvalidEventError):
        decide_on(COMPLETED, session(id=session_id))


@pytest.mark.parametrize(
    ("given_amount", "amount"),
    [
        (0, 0),
        (799, 799),
        (2**31 - 1, 2**31 - 1),
        (2**31, None),
        (-1, None),
        (None, None),
        ("799", None),
        (7.99, None),
        (True, None),
        ([], None),
    ],
)
def test_an_amount_is_whole_minor_units_or_unknown(
    given_amount: object, amount: int | None
) -> None:
    assert change_for(amount_total=given_amount).amount == amount


@pytest.mark.parametrize(
    ("given_currency", "currency"),
    [
        ("usd", "usd"),
        ("EUR", "eur"),
        (None, None),
        ("", None),
        ("us", None),
        ("dollars", None),
        ("u1d", None),
        (7, None),
    ],
)
def test_a_currency_is_three_letters_or_unknown(
    given_currency: object, currency: str | None
) -> None:
    assert change_for(currency=given_currency).currency == currency


@pytest.mark.parametrize(
    ("given_intent", "intent"),
    [
        ("pi_1", "pi_1"),
        ({"id": "pi_1", "object": "payment_intent"}, "pi_1"),
        (None, None),
        ({}, None),
        ({"id": None}, None),
        ({"id": {"id": "pi_1"}}, None),
        (["pi_1"], None),
        ("", None),
        ("x" * 256, None),
        ("pi_\0", None),
    ],
)
def test_a_payment_intent_may_be_expanded_or_absent(
    given_intent: object, intent: str | None
) -> None:
    assert change_for(payment_intent=given_intent).payment_intent == intent


def test_every_other_field_may_be_missing() -> None:
    subject = {"id": "cs_1", "metadata": OURS, "payment_status": "paid"}

    assert decide_on(COMPLETED, subject) == CheckoutChange(
        "cs_1", "paid", None, USER, CUSTOMIZATION, None, None, None
    )


# Live and test


@pytest.mark.parametrize("event_is_live", [True, False])
@pytest.mark.parametrize("we_are_live", [True, False])
@pytest.mark.parametrize("event_type", [COMPLETED, "charge.refunded", "charge.dispute.created"])
def test_live_events_are_for_live_deployments_and_test_events_for_the_others(
    event_type: str, event_is_live: bool, we_are_live: bool
) -> None:
    decision = decide_on(event_type, session(), live=we_are_live, livemode=event_is_live)

    assert (decision == Ignored("livemode_mismatch")) == (event_is_live != we_are_live)


@pytest.mark.parametrize("livemode", [None, 1, "true", {}])
def test_an_event_is_live_only_if_it_says_true(livemode: object) -> None:
    assert decide_on(COMPLETED, session(), live=True, livemode=livemode) == Ignored(
        "livemode_mismatch"
    )


# Refunds and disputes


@pytest.mark.parametrize(
    ("event_type", "subject", "ends"),
    [
        ("charge.refunded", {"refunded": True, "amount_refunded": 799}, True),
        ("charge.refunded", {"refunded": False, "amount_refunded": 400}, False),
        ("charge.refunded", {"refunded": "true"}, False),
        ("charge.refunded", {}, False),
        ("refund.created", {"amount": 799, "status": "succeeded"}, False),
        ("refund.updated", {"amount": 799, "status": "pending"}, False),
        ("refund.failed", {"amount": 799, "status": "failed"}, False),
        ("charge.dispute.created", {"amount": 799}, True),
    ],
)
def test_a_payment_ends_with_a_full_refund_or_a_dispute(
    event_type: str, subject: Json, ends: bool
) -> None:
    decision = decide_on(event_type, {"payment_intent": "pi_1"} | subject)

    assert isinstance(decision, PaymentChange)
    assert decision.payment_intent == "pi_1"
    assert decision.ends_payment is ends


PAYMENT_EVENTS = [
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
]


@pytest.mark.parametrize("event_type", PAYMENT_EVENTS)
@pytest.mark.parametrize("payment_intent", [None, "", 7, [], {}])
def test_a_refund_of_a_charge_without_a_payment_intent_is_not_of_an_order(
    event_type: str, payment_intent: object
) -> None:
    decision = decide_on(event_type, {"payment_intent": payment_intent})

    assert decision == Ignored("no_payment_intent")


def test_what_a_charge_has_given_back_so_far_is_told() -> None:
    decision = decide_on("charge.refunded", {"payment_intent": "pi_1", "amount_refunded": 400})

    assert isinstance(decision, PaymentChange)
    assert decision.amount_refunded == 400


# The envelope


@pytest.mark.parametrize(
    "event_type",
    ["invoice.paid", "charge.succeeded", "checkout.session", "checkout.session.x", "x"],
)
@pytest.mark.parametrize("live", [True, False])
def test_other_types_are_left_alone(event_type: str, live: bool) -> None:
    assert decide_on(event_type, session(), live=live) == Ignored("event_type_not_handled")


HANDLED = [COMPLETED, SUCCEEDED, FAILED, EXPIRED, *PAYMENT_EVENTS]


@pytest.mark.parametrize("event_type", HANDLED)
@pytest.mark.parametrize("data", [None, [], "x", 7, {}, {"object": None}, {"object": []}])
def test_an_event_we_handle_needs_its_object(event_type: str, data: object) -> None:
    event = stripe_events.event(event_type, {}) | {"data": data}

    with pytest.raises(InvalidEventError):
        parse_event(event)


@pytest.mark.parametrize("data", [None, [], {}, {"object": None}])
def test_an_event_we_do_not_handle_needs_none(data: object) -> None:
    event = parse_event(stripe_events.event("invoice.paid", {}) | {"data": data})

    assert event.object == {}


@pytest.mark.parametrize("payload", [None, [], [{}], "event", 7, True, 1.5, {}])
def test_what_is_no_object_with_an_id_and_a_type_is_no_event(payload: object) -> None:
    with pytest.raises(InvalidEventError):
        parse_event(payload)


@pytest.mark.parametrize("field", ["id", "type"])
@pytest.mark.parametrize("value", [None, "", 7, [], {}, "x" * 256, "nul \0", "é", "\ud800"])
def test_an_event_s_id_and_type_are_plain_text(field: str, value: object) -> None:
    with pytest.raises(InvalidEventError):
        parse_event(stripe_events.event(COMPLETED, session()) | {field: value})


@pytest.mark.parametrize(
    ("created", "time"),
    [
        (1_795_434_525, datetime(2026, 11, 23, 11, 48, 45, tzinfo=UTC)),
        ("1795434525", datetime(2026, 11, 23, 11, 48, 45, tzinfo=UTC)),
        *(
            (odd, datetime(1970, 1, 1, tzinfo=UTC))
            for odd in (None, "soon", [], {}, 1e300, -1e300, float("nan"), float("inf"), 10**400)
        ),
    ],
)
def test_an_event_s_time_is_read_where_it_can_be(created: object, time: datetime) -> None:
    event = parse_event(stripe_events.event(COMPLETED, session()) | {"created": created})

    assert event.created == time


def test_an_event_keeps_the_whole_payload() -> None:
    payload = stripe_events.event(COMPLETED, session())

    assert parse_event(payload).raw is payload


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ("id", "metadata", "payment_status", "payment_intent", "amount_total", "currency")


@given(
    st.sampled_from(HANDLED),
    st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES),
    st.dictionaries(st.sampled_from(["userId", "customizationId"]), JSON_VALUES),
)
def test_whatever_json_an_object_holds_there_is_a_decision_or_a_refusal(
    event_type: str, changes: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    subject = session() | {"metadata": dict(metadata)} | dict(changes)
    try:
        decision = decide_on(event_type, subject)
    except InvalidEventError:
        return

    assert isinstance(decision, Ignored | CheckoutChange | PaymentChange)
