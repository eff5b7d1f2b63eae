from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
import stripe

from devstack.faults import Fault, times
from devstack.payments import events
from devstack.payments.api import StripeAPI
from devstack.payments.charges import dispute, refund
from devstack.payments.errors import API_ERROR, RATE_LIMITED

KEY = "sk_test_embedded"
DAY = 86_400
START = 1_795_000_000


@pytest.fixture
def api(serve: Callable[[StripeAPI], StripeAPI]) -> StripeAPI:
    return serve(StripeAPI())


@pytest.fixture
def client(api: StripeAPI) -> stripe.StripeClient:
    return client_of(api)


def client_of(api: StripeAPI, key: str = KEY, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": api.url}, **options)


def add_session(api: StripeAPI, number: int, **fields: Any) -> dict[str, Any]:
    """The session ``cs_test_<number>`` of payment ``pi_<number>``, made on that day."""
    defaults = {
        "user_id": "user-1",
        "customization_id": "customization-1",
        "session_id": f"cs_test_{number}",
        "payment_intent": f"pi_{number}",
        "created": START + number * DAY,
    }
    session = events.checkout_session(**defaults | fields)
    api.add_session(session)
    return session


def ids(objects: Any) -> list[str]:
    return [each.id for each in objects]


def test_a_session_is_retrieved_as_it_was_added(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    session = add_session(api, 1)

    assert client.v1.checkout.sessions.retrieve("cs_test_1").to_dict() == session


def test_a_session_that_is_not_there_is_resource_missing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.checkout.sessions.retrieve("cs_test_1")

    assert caught.value.http_status == 404
    assert (caught.value.code, caught.value.param) == ("resource_missing", "session")


@pytest.mark.parametrize("page_limit", [100, 3])
def test_sessions_come_newest_first_over_all_pages(
    api: StripeAPI, client: stripe.StripeClient, page_limit: int
) -> None:
    """Paging forward neither loses nor repeats a session, whatever the size of a page."""
    api.page_limit = page_limit
    for number in (3, 1, 4, 10, 5, 9, 2, 6, 8, 7):
        add_session(api, number)
    listed = client.v1.checkout.sessions.list({"limit": 4}).auto_paging_iter()

    assert ids(listed) == [f"cs_test_{number}" for number in range(10, 0, -1)]


def test_sessions_of_one_second_are_paged_without_loss(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    api.page_limit = 2
    for number in range(5):
        add_session(api, number, created=START)
    listed = client.v1.checkout.sessions.list().auto_paging_iter()

    assert ids(listed) == [f"cs_test_{number}" for number in (4, 3, 2, 1, 0)]


def test_a_page_says_whether_there_is_more(api: StripeAPI, client: stripe.StripeClient) -> None:
    for number in range(3):
        add_session(api, number)
    lists = client.v1.checkout.sessions

    assert [lists.list({"limit": n}).has_more for n in (2, 3)] == [True, False]
    assert len(client.v1.checkout.sessions.list({"limit": 2}).data) == 2


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({"created": {"gte": START + 2 * DAY}}, [4, 3, 2]),
        ({"created": {"gt": START + 2 * DAY}}, [4, 3]),
        ({"created": {"lt": START + 2 * DAY}}, [1]),
        ({"created": {"lte": START + 2 * DAY}}, [2, 1]),
        ({"created": {"gte": START + 2 * DAY, "lt": START + 4 * DAY}}, [3, 2]),
        ({"created": START + 2 * DAY}, [2]),
        ({"status": "complete"}, [3, 2, 1]),
        ({"status": "expired"}, [4]),
        ({"payment_intent": "pi_2"}, [2]),
        ({"payment_intent": "pi_unknown"}, []),
        ({"status": "complete", "created": {"gte": START + 3 * DAY}}, [3]),
    ],
)
def test_sessions_are_filtered(
    api: StripeAPI, client: stripe.StripeClient, params: dict[str, Any], numbers: list[int]
) -> None:
    for number in (1, 2, 3):
        add_session(api, number)
    add_session(api, 4, status="expired", payment_status="unpaid", payment_intent=None)
    api.page_limit = 1
    listed = client.v1.checkout.sessions.list(params).auto_paging_iter()

    assert ids(listed) == [f"cs_test_{number}" for number in numbers]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": 0}, "parameter_invalid_integer"),
        ({"limit": 101}, "parameter_invalid_integer"),
        ({"limit": "many"}, "parameter_invalid_integer"),
        ({"created": {"gte": "yesterday"}}, "parameter_invalid_integer"),
        ({"starting_after": "cs_test_0"}, "resource_missing"),
        ({"ending_before": "cs_test_1"}, "parameter_unknown"),
        ({"expand": ["data.payment_intent"]}, "parameter_unknown"),
        ({"status": "paid"}, None),
    ],
)
def test_what_it_cannot_answer_is_refused(
    api: StripeAPI, client: stripe.StripeClient, params: dict[str, Any], code: str | None
) -> None:
    add_session(api, 1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.checkout.sessions.list(params)

    assert caught.value.http_status == 400
    assert caught.value.code == code


def test_charges_follow_from_paid_sessions_and_their_refunds(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    """Unpaid sessions have none; failed refunds do not count; disputes show."""
    for number in (1, 2, 3):
        add_session(api, number)
    add_session(api, 4, payment_status="unpaid")
    add_session(api, 5, payment_status="no_payment_required", payment_intent=None)
    api.add_refund(refund("pi_1", 300))
    api.add_refund(refund("pi_2", 799, "failed"))
    api.add_dispute(dispute("pi_3"))
    found = {
        each.payment_intent: (each.amount_refunded, each.refunded, each.disputed)
        for each in client.v1.charges.list().auto_paging_iter()
    }

    assert found == {
        "pi_1": (300, False, False),
        "pi_2": (0, False, False),
        "pi_3": (0, False, True),
    }
    assert ids(client.v1.charges.list({"payment_intent": "pi_2"}).data) == ["ch_2"]


def test_refunds_and_disputes_are_listed_by_time_and_payment(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    api.page_limit = 1
    for number in (1, 2, 3):
        made = START + number * DAY
        api.add_refund(refund(f"pi_{number}", 1, refund_id=f"re_{number}", created=made))
        api.add_dispute(dispute(f"pi_{number}", dispute_id=f"dp_{number}", created=made))
    since = {"created": {"gte": START + 2 * DAY}}

    assert ids(client.v1.refunds.list(since).auto_paging_iter()) == ["re_3", "re_2"]
    assert ids(client.v1.disputes.list(since).auto_paging_iter()) == ["dp_3", "dp_2"]
    assert ids(client.v1.refunds.list({"payment_intent": "pi_1"}).data) == ["re_1"]
    assert ids(client.v1.disputes.list({"payment_intent": "pi_1"}).data) == ["dp_1"]


def test_a_refund_gives_back_all_and_stripe_would_tell(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    add_session(api, 1)
    made = client.v1.refunds.create(
        {
            "payment_intent": "pi_1",
            "reason": "requested_by_customer",
            "metadata": {"orderId": "order-1"},
        }
    )

    assert (made.amount, made.status, made.charge) == (799, "succeeded", "ch_1")
    assert made.metadata["orderId"] == "order-1"
    assert api.refunds == {made.id: made.to_dict()}
    assert [event["type"] for event in api.events] == ["refund.created", "charge.refunded"]
    assert api.events[1]["data"]["object"]["refunded"] is True


def test_parts_are_refunded_until_nothing_is_left(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    add_session(api, 1)
    first = client.v1.refunds.create({"payment_intent": "pi_1", "amount": 300})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"payment_intent": "pi_1", "amount": 500})
    rest = client.v1.refunds.create({"payment_intent": "pi_1"})

    assert (first.amount, rest.amount) == (300, 499)
    assert (caught.value.param, caught.value.code) == ("amount", None)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"payment_intent": "pi_back"}, "charge_already_refunded"),
        ({"payment_intent": "pi_disputed"}, "charge_disputed"),
        ({"payment_intent": "pi_unpaid"}, None),
        ({"payment_intent": "pi_unknown"}, "resource_missing"),
        ({}, "parameter_missing"),
        ({"payment_intent": "pi_paid", "amount": 0}, "parameter_invalid_integer"),
        ({"payment_intent": "pi_paid", "reason": "bored"}, None),
        ({"payment_intent": "pi_paid", "reverse_transfer": True}, "parameter_unknown"),
    ],
)
def test_a_refund_that_stripe_would_refuse_is_refused(
    api: StripeAPI, client: stripe.StripeClient, params: dict[str, Any], code: str | None
) -> None:
    add_session(api, 1, payment_intent="pi_back")
    add_session(api, 2, payment_intent="pi_disputed")
    add_session(api, 3, payment_intent="pi_unpaid", payment_status="unpaid")
    add_session(api, 4, payment_intent="pi_paid")
    api.add_refund(refund("pi_back", 799))
    api.add_dispute(dispute("pi_disputed"))
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create(params)

    assert caught.value.http_status == 400
    assert caught.value.code == code
    assert len(api.refunds) == 1


def test_one_idempotency_key_makes_one_refund(api: StripeAPI, client: stripe.StripeClient) -> None:
    add_session(api, 1)
    params = {"payment_intent": "pi_1", "metadata": {"orderId": "order-1"}}
    made = [
        client.v1.refunds.create(params, {"idempotency_key": "refund-order-1"}) for _ in range(3)
    ]

    assert len({each.id for each in made}) == len(api.refunds) == 1
    replayed = [each.last_response.headers.get("Idempotent-Replayed") for each in made]
    assert replayed == [None, "true", "true"]
    assert len(api.events) == 2


def test_one_idempotency_key_with_other_parameters_is_an_error(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    add_session(api, 1)
    options = {"idempotency_key": "refund-order-1"}
    client.v1.refunds.create({"payment_intent": "pi_1", "amount": 1}, options)

    with pytest.raises(stripe.IdempotencyError) as caught:
        client.v1.refunds.create({"payment_intent": "pi_1", "amount": 2}, options)
    assert caught.value.http_status == 400


def test_a_key_keeps_an_executed_refusal_but_not_an_invalid_request(
    api: StripeAPI, client: stripe.StripeClient
) -> None:
    """What was refused for its parameters can be corrected under the same key."""
    add_session(api, 1)
    options = {"idempotency_key": "refund-order-1"}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": "pi_1", "amount": 0}, options)
    client.v1.refunds.create({"payment_intent": "pi_1"}, options)
    again = {"idempotency_key": "another"}
    for replayed in (None, "true"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.refunds.create({"payment_intent": "pi_1"}, again)
        assert caught.value.code == "charge_already_refunded"
        assert caught.value.headers.get("Idempotent-Replayed") == replayed


def test_stripe_s_library_survives_a_cut_connection_with_one_refund(api: StripeAPI) -> None:
    """The answer is lost after the refund was made; the library asks again with its own key."""
    add_session(api, 1)
    api.faults.add(times(1, Fault(cut="after")))
    made = client_of(api, max_network_retries=1).v1.refunds.create({"payment_intent": "pi_1"})

    assert list(api.refunds) == [made.id]
    assert api.faults.count("stripe", "refunds") == 2


def test_a_wrong_or_missing_key_is_refused(api: StripeAPI) -> None:
    with pytest.raises(stripe.AuthenticationError) as caught:
        client_of(api, "sk_test_someone_else").v1.refunds.list()
    unsigned = requests.get(f"{api.url}/v1/refunds", timeout=10)

    assert caught.value.http_status == 401
    assert "sk_test_****else" in str(caught.value)
    assert unsigned.status_code == 401
    assert "did not provide" in unsigned.json()["error"]["message"]


@pytest.mark.parametrize(
    ("permission", "call"),
    [
        ("rak_checkout_session_read", lambda v1: v1.checkout.sessions.list()),
        ("rak_charge_read", lambda v1: v1.refunds.list()),
        ("rak_charge_read", lambda v1: v1.charges.list()),
        ("rak_charge_write", lambda v1: v1.refunds.create({"payment_intent": "pi_1"})),
        ("rak_dispute_read", lambda v1: v1.disputes.list()),
    ],
)
def test_a_restricted_key_is_told_what_it_lacks(
    api: StripeAPI, client: stripe.StripeClient, permission: str, call: Callable[[Any], Any]
) -> None:
    add_session(api, 1)
    api.restricted.add(permission)
    with pytest.raises(stripe.PermissionError, match=f"Having the '{permission}'") as caught:
        call(client.v1)

    assert caught.value.http_status == 403
    api.restricted.clear()
    assert call(client.v1).object in ("list", "refund")


def test_rate_limits_and_outages_are_scripted_per_resource(api: StripeAPI) -> None:
    impatient = client_of(api, max_network_retries=0)
    api.faults.add(times(1, RATE_LIMITED, lambda call: call.detail == "checkout/sessions"))
    api.faults.add(times(1, API_ERROR, lambda call: call.detail == "disputes"))

    assert impatient.v1.refunds.list().data == []
    with pytest.raises(stripe.RateLimitError) as limited:
        impatient.v1.checkout.sessions.list()
    with pytest.raises(stripe.APIError):
        impatient.v1.disputes.list()
    assert limited.value.json_body["error"]["code"] == "rate_limit"
    assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert impatient.v1.checkout.sessions.list().data == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(cut="before"), stripe.APIConnectionError),
        (Fault(cut="middle"), stripe.APIConnectionError),
        (Fault(truncate=True), stripe.APIError),
        (Fault(replace_body=True, body=b"<html>"), stripe.APIError),
    ],
)
def test_broken_answers_reach_stripe_s_library_as_errors(
    api: StripeAPI, fault: Fault, error: type[stripe.StripeError]
) -> None:
    api.faults.add(times(1, fault))

    with pytest.raises(error):
        client_of(api, max_network_retries=0).v1.refunds.list()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/events"),
        ("GET", "/v1/customers"),
        ("POST", "/v1/checkout/sessions"),
        ("POST", "/v1/refunds/re_1"),
    ],
)
def test_every_other_call_is_refused(api: StripeAPI, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    response = requests.request(method, api.url + path, headers=headers, timeout=10)

    assert response.status_code == 404
    assert "Unrecognized request URL" in response.json()["error"]["message"]
