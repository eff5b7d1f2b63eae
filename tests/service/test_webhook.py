"""``POST /api/webhook``: what is believed, what is stored, and what Stripe is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from world import Json, World, on

from devstack.faults import Fault, always, times
from devstack.payments import events as stripe_events
from devstack.payments.events import payload_of, signature_header
from devstack.payments.sender import Attempt
from devstack.stack import WEBHOOK_SECRET

MAX_BODY_BYTES = 1024 * 1024
NOWHERE = {"user_id": "11111111-1111-4111-8111-111111111111"}


def post(
    world: World, body: bytes | Iterator[bytes], signature: str | bytes | None = None
) -> requests.Response:
    headers: dict[str, Any] = {"Content-Type": "application/json; charset=utf-8"}
    if signature is not None:
        headers["Stripe-Signature"] = signature
    return requests.post(
        f"{world.stack.app.url}/api/webhook", data=body, headers=headers, timeout=10
    )


def post_signed(world: World, body: bytes) -> requests.Response:
    return post(world, body, signature_header(body, WEBHOOK_SECRET))


def post_json(world: World, value: object) -> requests.Response:
    return post_signed(world, json.dumps(value).encode())


def a_paid_body(world: World) -> bytes:
    return payload_of(world.paid_event(world.shop.add_customer()))


def assert_nothing_happened(world: World) -> None:
    world.rest()
    assert world.shop.orders() == []
    assert world.shop.dead_letters() == []
    assert world.runs() == []
    assert world.provider.calls == []


def said(answer: Attempt) -> Json:
    return dict(json.loads(answer.body))


# Many deliveries of one payment


def test_forty_deliveries_at_once_make_one_order_one_run_and_three_songs(world: World) -> None:
    """Stripe may repeat an event; whoever comes first makes the order, and all are answered 200."""
    event = world.paid_event(world.shop.add_customer())

    async def deliver_all() -> list[Attempt]:
        deliver = world.stack.sender.deliver_once
        return await asyncio.gather(*(deliver(event) for _ in range(40)))

    answers = world.wait_for(deliver_all())
    world.rest()

    assert [answer.status for answer in answers] == [200] * 40
    assert sorted(said(answer)["action"] for answer in answers) == ["created"] + ["known"] * 39
    [order] = world.shop.orders()
    assert {said(answer)["orderId"] for answer in answers} == {str(order["id"])}
    assert order["status"] == "completed"
    assert len(world.runs()) == 1
    assert world.provider.songs_made == 3
    assert len(world.shop.rows("select * from public.stripe_events")) == 1


def test_two_events_of_one_session_make_one_order(world: World) -> None:
    """Stripe may also make two Event objects of one thing: the session's id counts."""
    customer = world.shop.add_customer()
    event = world.paid_event(customer)
    other = stripe_events.checkout_completed(event["data"]["object"])
    world.deliver(event)
    answer = world.deliver(other)
    world.rest()

    assert other["id"] != event["id"]
    assert said(answer)["action"] == "known"
    assert len(world.shop.orders()) == 1
    assert world.provider.songs_made == 3
    assert len(world.shop.rows("select * from public.stripe_events")) == 2


def test_a_delivery_after_completion_starts_nothing(world: World) -> None:
    paid = world.buy()
    answer = world.deliver(paid.event)
    world.rest()

    assert (answer.status, said(answer)) == (
        200,
        {"received": True, "action": "known", "orderId": paid.order_id, "status": "completed"},
    )
    assert len(world.runs()) == 1
    assert world.provider.songs_made == 3


def test_two_sessions_of_one_customization_are_two_orders(world: World) -> None:
    """Whoever pays twice for the same words gets two orders: only the session makes one."""
    customer = world.shop.add_customer()
    first, second = world.buy(customer), world.buy(customer)

    assert first.order_id != second.order_id
    assert world.provider.songs_made == 6


# Payments that come later, or not


def delayed(world: World) -> Json:
    return dict(
        world.paid_event(world.shop.add_customer(), payment_status="unpaid")["data"]["object"]
    )


def test_an_unpaid_session_waits_and_its_payment_starts_the_songs(world: World) -> None:
    session = delayed(world)
    first = world.deliver(stripe_events.checkout_completed(session))
    world.rest()
    assert (said(first)["status"], world.provider.songs_made) == ("pending", 0)

    second = world.deliver(stripe_events.async_payment_succeeded(session))
    world.rest()

    assert said(second)["action"] == "updated"
    assert said(second)["orderId"] == said(first)["orderId"]
    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.provider.songs_made == 3


def test_the_payment_may_be_reported_before_the_session(world: World) -> None:
    """Stripe promises no order of events."""
    session = delayed(world)
    world.deliver(stripe_events.async_payment_succeeded(session))
    late = world.deliver(stripe_events.checkout_completed(session))
    world.rest()

    assert said(late)["action"] == "known"
    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.provider.songs_made == 3


@pytest.mark.parametrize("end", [stripe_events.async_payment_failed, stripe_events.expired])
def test_a_payment_that_never_comes_cancels_the_order(
    world: World, end: Callable[[Json], Json]
) -> None:
    session = delayed(world)
    world.deliver(stripe_events.checkout_completed(session))
    answer = world.deliver(end(session))
    world.rest()

    assert said(answer)["status"] == "canceled"
    assert [order["status"] for order in world.shop.orders()] == ["canceled"]
    assert world.runs() == []
    assert world.shop.dead_letters() == []


def test_an_expired_session_that_nobody_finished_is_no_order(world: World) -> None:
    session = delayed(world) | {"status": "open"}
    answer = world.deliver(stripe_events.expired(session))

    assert answer.status == 200
    assert said(answer)["action"] == "ignored"
    assert_nothing_happened(world)


# Whom it believes


def unsigned(body: bytes) -> str | None:
    return None


def with_other_secret(body: bytes) -> str:
    return signature_header(body, "whsec_other")


def stale(body: bytes) -> str:
    return signature_header(body, WEBHOOK_SECRET, timestamp=int(time.time()) - 301)


def for_another_body(body: bytes) -> str:
    return signature_header(body + b" ", WEBHOOK_SECRET)


def with_v1_beyond_ascii(body: bytes) -> bytes:
    """Stripe's library compares it and raises TypeError; anyone can send one."""
    return f"t={int(time.time())},v1=".encode() + b"\xe9" * 64


def without_v1(body: bytes) -> str:
    return signature_header(body, WEBHOOK_SECRET).replace("v1=", "v0=")


def with_a_word_for_time(body: bytes) -> str:
    return "t=yesterday,v1=" + "0" * 64


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        with_other_secret,
        stale,
        for_another_body,
        with_v1_beyond_ascii,
        without_v1,
        with_a_word_for_time,
        lambda body: "",
        lambda body: ",,,",
        lambda body: "t=,v1=",
        lambda body: "t=" + "9" * 400 + ",v1=0",
        lambda body: "t=-1,v1=0",
        lambda body: "x" * 4000,
    ],
    ids=[
        "unsigned",
        "other secret",
        "stale",
        "other body",
        "not ascii",
        "no v1",
        "no time",
        "empty",
        "commas",
        "no values",
        "far future",
        "before time",
        "long",
    ],
)
def test_what_stripe_did_not_sign_is_refused(
    world: World, sign: Callable[[bytes], str | bytes | None]
) -> None:
    body = a_paid_body(world)
    response = post(world, body, sign(body))

    assert response.status_code == 400
    assert response.json() == {"error": "signature_invalid"}
    assert_nothing_happened(world)


def test_a_signature_of_five_minutes_is_fresh_enough(world: World) -> None:
    body = a_paid_body(world)
    signature = signature_header(body, WEBHOOK_SECRET, timestamp=int(time.time()) - 290)

    assert post(world, body, signature).status_code == 200


def test_one_of_several_signatures_is_enough(world: World) -> None:
    """While a secret is being rolled Stripe signs with the old one and the new one."""
    body = a_paid_body(world)
    signature = signature_header(body, ["whsec_not_ours", WEBHOOK_SECRET])

    assert post(world, body, signature).status_code == 200


# What it can read


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\xff\xfe\x00", "not_utf8"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"payment_intent=pi_1", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"1" * 5_000, "not_json"),
        (b'{"id":"evt_1","type":"invoice.paid","created":NaN}', "not_json"),
    ],
    ids=["not utf-8", "empty", "cut", "a form", "deep", "a huge number", "NaN"],
)
def test_a_body_that_is_not_json_is_refused(world: World, body: bytes, error: str) -> None:
    signature = "t=1,v1=0" if error == "not_utf8" else signature_header(body, WEBHOOK_SECRET)
    response = post(world, body, signature)

    assert response.status_code == 400
    assert response.json() == {"error": error}


EVENT = stripe_events.checkout_completed(
    stripe_events.checkout_session(**NOWHERE, customization_id="customization")
)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [EVENT],
        7,
        "event",
        True,
        {},
        EVENT | {"id": None},
        EVENT | {"id": ""},
        EVENT | {"id": 7},
        EVENT | {"id": "x" * 256},
        EVENT | {"id": "evt_\0"},
        {key: value for key, value in EVENT.items() if key != "id"},
        {key: value for key, value in EVENT.items() if key != "type"},
        {key: value for key, value in EVENT.items() if key != "data"},
        EVENT | {"type": ["checkout.session.completed"]},
        EVENT | {"data": None},
        EVENT | {"data": []},
        EVENT | {"data": {}},
        EVENT | {"data": {"object": None}},
        EVENT | {"data": {"object": []}},
        EVENT | {"data": {"object": EVENT["data"]["object"] | {"id": None}}},
        {"id": "evt_1", "object": "v2.core.event", "created": "2026-11-23T00:00:00Z"},
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(world: World, value: object) -> None:
    """Never a 500: Stripe shows it as failed, and nothing is stored."""
    response = post_json(world, value)

    assert response.status_code == 400
    assert response.json() == {"error": "not_an_event"}
    assert_nothing_happened(world)


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = {"in": value}
    return value


def test_a_signed_event_that_is_nested_beyond_reason_is_refused(world: World) -> None:
    event = world.paid_event(world.shop.add_customer())
    event["data"]["object"]["client_reference_id"] = nested(700)
    response = post_json(world, event)

    assert response.status_code == 400
    assert_nothing_happened(world)


class Written(float):
    """A number that JSON can write and a float cannot hold."""

    def __repr__(self) -> str:
        return "1e999"


@pytest.mark.parametrize(
    "odd",
    [
        {"amount_total": Written()},
        {"amount_total": 10**400},
        {"amount_total": "799"},
        {"amount_total": -1},
        {"amount_total": True},
        {"currency": "\ud800"},
        {"currency": 7},
        {"client_reference_id": "half a pair: \ud800"},
        {"client_reference_id": "nul: \0"},
        {"\0": "\0"},
        {"\ud83d": "\ud83d"},
        {"payment_intent": ["pi_1"]},
        {"payment_intent": {"id": None}},
        {"payment_intent": "pi_\ud800"},
        {"client_reference_id": nested(300)},
    ],
    ids=lambda odd: json.dumps(odd)[:60],
)
def test_odd_values_beside_the_ids_do_not_keep_a_paid_session_from_its_songs(
    world: World, odd: Json
) -> None:
    event = world.paid_event(world.shop.add_customer())
    event["data"]["object"] |= odd
    response = post_json(world, event)

    assert response.status_code == 200
    assert response.json()["action"] == "created"
    assert len(world.shop.orders()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"userId": "\ud800"},
        {"note": "half a pair: \ud800"},
        {"note": "nul: \0"},
    ],
    ids=lambda change: json.dumps(change),
)
def test_odd_text_in_a_dead_letter_s_event_can_be_stored(world: World, change: Json) -> None:
    """What the database refuses is left out or replaced; the letter itself is not lost."""
    event = without_customization(world)
    event["data"]["object"]["metadata"] |= change
    response = post_json(world, event)

    assert response.status_code == 200
    [letter] = world.shop.dead_letters()
    assert letter["event_data"]["id"] == event["id"]


@pytest.mark.parametrize("created", [None, "soon", -1, 1e300, [], {}])
def test_the_time_of_an_event_is_not_needed(world: World, created: object) -> None:
    event = world.paid_event(world.shop.add_customer()) | {"created": created}

    assert post_json(world, event).status_code == 200
    assert len(world.shop.orders()) == 1


def test_an_expanded_payment_intent_is_taken_by_its_id(world: World) -> None:
    event = world.paid_event(world.shop.add_customer())
    event["data"]["object"]["payment_intent"] = {"id": "pi_expanded", "object": "payment_intent"}
    world.deliver(event)

    assert world.shop.orders()[0]["payment_intent"] == "pi_expanded"


# How much it reads, and by which method


def test_a_body_as_large_as_allowed_is_read(world: World) -> None:
    body = a_paid_body(world)
    body += b" " * (MAX_BODY_BYTES - len(body))

    assert post_signed(world, body).status_code == 200


def test_a_larger_body_is_answered_413(world: World) -> None:
    response = post(world, b" " * (MAX_BODY_BYTES + 1), "t=1,v1=0")

    assert response.status_code == 413
    assert response.json() == {"error": "request_entity_too_large"}


def test_a_larger_body_of_unknown_length_is_refused_too(world: World) -> None:
    """It is read as far as allowed, and no signature fits to that."""
    body = a_paid_body(world)
    body += b" " * (MAX_BODY_BYTES + 1 - len(body))
    response = post(world, iter([body]), signature_header(body, WEBHOOK_SECRET))

    assert response.status_code in (400, 413)
    assert_nothing_happened(world)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_answered_405(world: World, method: str) -> None:
    response = requests.request(method, f"{world.stack.app.url}/api/webhook", timeout=10)

    assert response.status_code == 405
    assert response.json() == {"error": "method_not_allowed"}
    assert "POST" in response.headers["Allow"]


def test_an_unknown_path_is_answered_in_json_too(world: World) -> None:
    response = requests.get(f"{world.stack.app.url}/api/nothing", timeout=10)

    assert response.status_code == 404
    assert response.json() == {"error": "not_found"}


# What is not for us


@pytest.mark.parametrize("metadata", [{}, {"order_id": "7f3c"}, {"userid": "x"}])
def test_a_session_that_is_not_ours_is_left_alone(world: World, metadata: dict[str, str]) -> None:
    """Another shop on the same Stripe account, for one."""
    session = stripe_events.checkout_session(**NOWHERE, customization_id="", metadata=metadata)
    answer = world.deliver(stripe_events.checkout_completed(session))

    assert answer.status == 200
    assert said(answer) == {"received": True, "action": "ignored", "reason": "session_not_ours"}
    assert_nothing_happened(world)


@pytest.mark.parametrize("metadata", [None, [], "userId", 7])
def test_a_session_without_metadata_is_left_alone(world: World, metadata: object) -> None:
    event = stripe_events.checkout_completed(EVENT["data"]["object"] | {"metadata": metadata})

    assert said(world.deliver(event))["reason"] == "session_not_ours"
    assert_nothing_happened(world)


@pytest.mark.parametrize("kind", ["invoice.paid", "customer.created", "charge.succeeded", "x"])
def test_other_types_of_events_are_left_alone(world: World, kind: str) -> None:
    answer = world.deliver(stripe_events.event(kind, {"id": "in_1", "object": "invoice"}))

    assert answer.status == 200
    assert said(answer)["reason"] == "event_type_not_handled"
    assert_nothing_happened(world)


def test_another_type_of_event_may_lack_its_object(world: World) -> None:
    event = stripe_events.event("invoice.paid", {}) | {"data": None}

    assert world.deliver(event).status == 200


def test_a_live_payment_is_not_taken_by_a_test_deployment(world: World) -> None:
    paid = world.pay(livemode=True)

    assert paid.answer.status == 200
    assert paid.said["reason"] == "livemode_mismatch"
    assert_nothing_happened(world)
    assert paid.event["id"] in world.log


# Money was taken, but there can be no order


def without_customization(world: World) -> Json:
    customer = world.shop.add_customer()
    world.shop.rows("delete from public.customizations")
    return world.paid_event(customer)


def without_user(world: World) -> Json:
    customer = world.shop.add_customer()
    world.shop.rows("delete from auth.users")
    return world.paid_event(customer)


def of_another_user(world: World) -> Json:
    customer, other = world.shop.add_customers(2)
    return world.paid_event(customer, user_id=other.user_id)


def with_malformed_user(world: World) -> Json:
    return world.paid_event(world.shop.add_customer(), user_id="42")


def with_malformed_customization(world: World) -> Json:
    return world.paid_event(world.shop.add_customer(), customization_id="{nonsense}")


def with_only_one_id(world: World) -> Json:
    customer = world.shop.add_customer()
    return world.paid_event(customer, metadata={"userId": customer.user_id})


def with_an_unknown_payment_status(world: World) -> Json:
    return world.paid_event(world.shop.add_customer(), payment_status="paid_in_kind")


PROBLEMS = {
    "customization_missing": without_customization,
    "user_missing": without_user,
    "customization_of_another_user": of_another_user,
    "user_id_malformed": with_malformed_user,
    "customization_id_malformed": with_malformed_customization,
    "payment_status_unknown": with_an_unknown_payment_status,
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_paid_session_that_cannot_become_an_order_is_a_dead_letter(
    world: World, problem: str
) -> None:
    """One open row with the whole event, so that a person can put it right or pay it back."""
    event = PROBLEMS[problem](world)
    answer = world.deliver(event)
    world.rest()

    assert answer.status == 200
    assert said(answer) == {"received": True, "action": "dead_lettered", "reason": problem}
    assert world.shop.orders() == []
    assert world.runs() == []
    [letter] = world.shop.dead_letters()
    assert (letter["job_type"], letter["error_message"]) == ("checkout", problem)
    assert letter["event_data"] == event
    assert letter["stripe_session_id"] == event["data"]["object"]["id"]
    assert (letter["retry_count"], letter["resolved_at"]) == (0, None)


def test_a_session_with_one_of_its_ids_is_ours_and_a_dead_letter(world: World) -> None:
    answer = world.deliver(with_only_one_id(world))

    assert said(answer)["reason"] == "customization_id_malformed"
    assert len(world.shop.dead_letters()) == 1


def test_its_redeliveries_add_no_dead_letter(world: World) -> None:
    event = without_customization(world)
    answers = [world.deliver(event) for _ in range(3)]
    other = world.deliver(stripe_events.checkout_completed(event["data"]["object"]))

    assert {answer.status for answer in (*answers, other)} == {200}
    assert len(world.shop.dead_letters()) == 1


def test_the_order_that_becomes_possible_resolves_the_dead_letter(world: World) -> None:
    """The shop's row came late; the same event, sent again, makes the order."""
    customer = world.shop.add_customer()
    rows = world.shop.rows("delete from public.customizations returning *")
    event = world.paid_event(customer)
    world.deliver(event)
    names = ", ".join(rows[0])
    places = ", ".join(["%s"] * len(rows[0]))
    world.shop.rows(
        f"insert into public.customizations ({names}) values ({places})", *rows[0].values()
    )
    answer = world.deliver(event)
    world.rest()

    assert said(answer)["action"] == "created"
    assert [order["status"] for order in world.shop.orders()] == ["completed"]
    [letter] = world.shop.dead_letters()
    assert letter["resolved_at"] is not None


@pytest.mark.parametrize("problem", sorted(set(PROBLEMS) - {"payment_status_unknown"}))
def test_without_a_payment_there_is_nothing_to_look_after(world: World, problem: str) -> None:
    event = PROBLEMS[problem](world)
    event["data"]["object"] |= {"payment_status": "unpaid"}
    answer = world.deliver(event)

    assert answer.status == 200
    assert said(answer)["action"] == "ignored"
    assert_nothing_happened(world)


# Neighbours that are away


DATABASE_FAULTS = {
    "unavailable": Fault(status=503),
    "a proxy's page": Fault(status=502, body=b"<html>bad gateway</html>"),
    "a page with 200": Fault(status=200, body=b"<html>hello</html>"),
    "cut before": Fault(cut="before"),
    "cut after": Fault(cut="after"),
    "cut in the middle": Fault(cut="middle"),
    "canceled statement": Fault(status=500, body=b'{"code":"57014","message":"canceled"}'),
    "wrong key": Fault(status=401, body=b'{"message":"Invalid API key"}'),
    "refused": Fault(status=400, body=b'{"code":"22P02","message":"no"}'),
    "no migrations": Fault(status=404, body=b'{"code":"PGRST202","message":"no function"}'),
}


@pytest.mark.parametrize("fault", DATABASE_FAULTS.values(), ids=DATABASE_FAULTS)
def test_an_event_that_could_not_be_stored_is_asked_for_again(world: World, fault: Fault) -> None:
    """503, and what Stripe sends next makes the order, whatever had been done before."""
    event = world.paid_event(world.shop.add_customer())
    world.faults.add(times(1, fault, on("rest", "rpc/record_checkout")))
    first = world.deliver(event)
    second = world.deliver(event)
    world.rest()

    assert (first.status, said(first)) == (503, {"error": "not_stored"})
    assert second.status == 200
    [order] = world.shop.orders()
    assert order["status"] == "completed"
    assert world.provider.songs_made == 3
    assert world.shop.dead_letters() == []


def test_a_database_that_hangs_is_not_waited_for(world: World) -> None:
    """Stripe has its 503 within three seconds, and its redelivery makes the order."""
    event = world.paid_event(world.shop.add_customer())
    world.faults.add(times(1, Fault(delay_seconds=6, status=503), on("rest")))
    first = world.deliver(event)
    second = world.deliver(event)
    world.rest()

    assert first.status == 503
    assert first.seconds < 3
    assert said(second)["action"] == "created"
    assert world.provider.songs_made == 3


def test_a_database_that_is_gone_is_noticed_at_once(world: World) -> None:
    """PostgreSQL itself stops: PostgREST has nobody to ask."""
    event = world.paid_event(world.shop.add_customer())
    world.stack.postgres.pause()
    try:
        first = world.deliver(event)
        ready = requests.get(f"{world.stack.app.url}/readyz", timeout=10)
    finally:
        world.stack.postgres.resume()
    second = world.wait_for(world.stack.sender.deliver(event))
    world.rest()

    assert (first.status, ready.status_code) == (503, 503)
    assert first.seconds < 3
    assert second.delivered
    assert len(world.shop.orders()) == 1
    assert world.provider.songs_made == 3


def test_an_order_is_safe_although_inngest_cannot_be_reached(world: World) -> None:
    """It is stored, so Stripe is thanked within three seconds; the sweep hands it over later."""
    world.engine.away = True
    paid = world.pay()

    assert paid.answer.status == 200
    assert paid.answer.seconds < 3
    assert (paid.said["status"], paid.said["handedOver"]) == ("paid", False)
    order = world.order(paid)
    assert (order["status"], order["handed_over_at"]) == ("paid", None)
    assert world.runs() == []
    assert paid.order_id in world.log


def test_a_redelivery_hands_over_what_could_not_be_handed_over(world: World) -> None:
    """The event was refused while the first delivery had time; it is sent again by the second."""
    world.faults.add(always(Fault(status=500), on("events")))
    world.faults.add(times(1, Fault(delay_seconds=2.3), on("rest", "rpc/record_checkout")))
    paid = world.pay()
    assert paid.said["handedOver"] is False
    world.faults.clear()
    again = world.deliver(paid.event)
    world.rest()

    assert said(again)["handedOver"] is True
    assert world.order(paid)["status"] == "completed"
    assert len(world.runs()) == 1
    assert world.provider.songs_made == 3


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(cut="before"), Fault(cut="after")],
    ids=["500", "cut before", "cut after"],
)
def test_one_failed_handover_is_repeated_within_the_time(world: World, fault: Fault) -> None:
    """Also when Inngest had taken the event and its answer was lost: still one run."""
    world.faults.add(times(1, fault, on("events")))
    paid = world.buy()

    assert paid.said["handedOver"] is True
    assert len(world.runs()) == 1
    assert world.provider.songs_made == 3


def test_the_handover_may_fail_to_be_noted(world: World) -> None:
    """The answer is 200 all the same; what is handed over twice starts once."""
    world.faults.add(times(1, Fault(status=503), on("rest", "rpc/mark_handed_over")))
    paid = world.buy()

    assert paid.answer.status == 200
    assert world.order(paid)["handed_over_at"] is not None
    assert len(world.runs()) == 1


def test_a_slow_database_has_one_time_for_all_its_calls(world: World) -> None:
    """Each of them would be quick enough alone. The run itself then notes the handover."""
    world.faults.add(times(1, Fault(delay_seconds=1.5), on("rest", "rpc/record_checkout")))
    slow = Fault(delay_seconds=2.0, status=503)
    world.faults.add(always(slow, on("rest", "rpc/mark_handed_over")))
    paid = world.buy()

    assert paid.answer.seconds < 3
    assert paid.said["handedOver"] is True
    assert world.order(paid)["handed_over_at"] is not None
