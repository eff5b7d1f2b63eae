"""What is kept of Stripe's events, and what is not taken at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
import requests
from money_world import MoneyWorld
from story import Told

from devstack.app_process import AppProcess
from devstack.child import quiet_port
from devstack.payments import events as stripe_events
from devstack.payments.objects import BUYER_EMAIL, Json

TAKEN = (
    Told.UNPAID,
    Told.PAID,
    Told.SUCCEEDED,
    Told.FAILED,
    Told.EXPIRED,
    Told.REFUNDED,
    Told.DISPUTED,
    Told.REFUND,
    Told.PART,
)


def test_every_event_leaves_one_row_that_says_what_was_done(world: MoneyWorld) -> None:
    session = world.session()
    events = [told.event(session) for told in TAKEN]
    for event in [*events, *events]:
        assert world.deliver(event).status == 200

    rows = world.events()
    outcomes = ["created", "updated", "known", "known", "known", "updated", *["recorded"] * 3]
    assert [(row["id"], row["type"], row["outcome"]) for row in rows] == [
        (event["id"], event["type"], outcome)
        for event, outcome in zip(events, outcomes, strict=True)
    ]
    assert all(row["stripe_session_id"] or row["payment_intent"] for row in rows)
    assert {row["stripe_session_id"] for row in rows} == {session["id"], None}
    assert {row["payment_intent"] for row in rows} == {session["payment_intent"], None}
    assert all(abs(row["received_at"] - row["created_at"]).total_seconds() < 60 for row in rows)


def test_no_personal_field_of_an_event_is_kept_there(world: MoneyWorld) -> None:
    session = world.session()
    events = [told.event(session) for told in TAKEN]
    for event in events:
        world.deliver(event)

    assert any(BUYER_EMAIL in json.dumps(event) for event in events)
    assert BUYER_EMAIL not in json.dumps(world.events(), default=str)
    assert "@" not in json.dumps(world.events(), default=str)


@pytest.mark.parametrize("told", TAKEN)
def test_a_live_event_is_ignored_by_a_test_deployment(world: MoneyWorld, told: Told) -> None:
    answer = world.deliver(told.event(world.session()) | {"livemode": True})

    assert answer.status == 200
    assert json.loads(answer.body)["reason"] == "livemode_mismatch"
    assert [
        line for line in world.log.splitlines() if "livemode_mismatch" in line and "WARN" in line
    ]
    assert (world.shop.orders(), world.events(), world.letters()) == ([], [], ([], []))


@pytest.fixture(scope="module")
def live_app(
    session_world: MoneyWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppProcess]:
    """The same service, as a deployment for live payments with two webhook secrets."""
    environ = session_world.stack.app_environ() | {
        "STRIPE_SECRET_KEY": "rk_live_of_this_test",
        "STRIPE_WEBHOOK_SECRET": "whsec_old, whsec_new",
    }
    app = AppProcess(environ, folder=tmp_path_factory.mktemp("live"), workers=1, threads=8)
    app.start(quiet_port())
    yield app
    app.stop()


def post(app: AppProcess, event: Json, *secrets: str) -> requests.Response:
    payload = stripe_events.payload_of(event)
    header = stripe_events.signature_header(payload, secrets or ("whsec_old",))
    return requests.post(
        f"{app.url}/api/webhook", data=payload, headers={"Stripe-Signature": header}, timeout=10
    )


@pytest.mark.parametrize("told", TAKEN)
def test_a_test_event_is_ignored_by_a_live_deployment(
    world: MoneyWorld, live_app: AppProcess, told: Told
) -> None:
    event = told.event(world.session())
    answer = post(live_app, event)

    assert (answer.status_code, answer.json()["reason"]) == (200, "livemode_mismatch")
    [line] = [line for line in live_app.log.read_text().splitlines() if event["id"] in line]
    assert "WARNING" in line
    assert (world.shop.orders(), world.events(), world.letters()) == ([], [], ([], []))


def test_a_live_event_is_taken_by_a_live_deployment(
    world: MoneyWorld, live_app: AppProcess
) -> None:
    session = world.session(livemode=True, payment_status="unpaid")
    answer = post(live_app, stripe_events.checkout_completed(session))

    assert answer.json()["status"] == "pending"
    assert world.status_of(session) == "pending"


@pytest.mark.parametrize(
    ("secrets", "status"),
    [
        (("whsec_old",), 200),
        (("whsec_new",), 200),
        (("whsec_old", "whsec_new"), 200),
        (("whsec_elsewhere", "whsec_new"), 200),
        (("whsec_elsewhere",), 400),
        (("whsec_old, whsec_new",), 400),
    ],
)
def test_two_secrets_are_active_at_once(
    world: MoneyWorld, live_app: AppProcess, secrets: tuple[str, ...], status: int
) -> None:
    event = Told.REFUNDED.event(world.session()) | {"livemode": True}

    assert post(live_app, event, *secrets).status_code == status
    assert len(world.events()) == (1 if status == 200 else 0)


def test_an_event_told_a_second_time_differently_leaves_the_first(world: MoneyWorld) -> None:
    event = Told.UNPAID.event(world.session())
    again = copy.deepcopy(event)
    again["data"]["object"]["payment_status"] = "paid"
    for each in (event, again):
        world.deliver(each)

    assert [(row["id"], row["outcome"]) for row in world.events()] == [(event["id"], "created")]
