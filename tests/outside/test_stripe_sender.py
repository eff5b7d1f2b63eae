from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stripe
from aiohttp import ClientSession, web

from devstack.cutting import drop
from devstack.payments import events
from devstack.payments.sender import USER_AGENT, StripeSender
from devstack.serving import LoopbackServer, free_port

SECRET = "whsec_test"
SESSION = events.checkout_session(user_id="user-1", customization_id="customization-1")
EVENT = events.checkout_completed(SESSION)


class Webhook(LoopbackServer):
    """Answers with one status after another, the last for ever; 0 drops the connection."""

    name = "webhook"

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.statuses = list(statuses)
        self.delay_seconds = 0.0
        self.received: list[tuple[dict[str, str], bytes]] = []

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.post("/api/webhook", self._receive)]

    async def _receive(self, request: web.Request) -> web.Response:
        self.received.append((dict(request.headers), await request.read()))
        await asyncio.sleep(self.delay_seconds)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            return drop(request)
        return web.Response(status=status, text="seen", headers={"Location": "/elsewhere"})


@pytest.fixture
def send_to(run: Any, serve: Any) -> Iterator[Callable[..., StripeSender]]:
    senders: list[StripeSender] = []

    def start(webhook: Webhook, **options: object) -> StripeSender:
        url = f"{serve(webhook).url}/api/webhook"
        sender = StripeSender(webhook_url=url, secret=SECRET, time_scale=0, **options)
        senders.append(sender)
        return sender

    yield start
    for sender in senders:
        run(sender.close())


def test_a_delivery_is_posted_as_stripe_posts_it(run: Any, send_to: Any) -> None:
    webhook = Webhook(200)
    delivery = run(send_to(webhook).deliver(EVENT))
    [(headers, body)] = webhook.received

    assert delivery.delivered
    assert delivery.event_id == EVENT["id"]
    assert [(a.status, a.body) for a in delivery.attempts] == [(200, "seen")]
    assert headers["User-Agent"] == USER_AGENT
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    signature = headers["Stripe-Signature"]
    assert stripe.Webhook.construct_event(body, signature, SECRET).to_dict() == EVENT


def test_it_is_redelivered_until_a_2xx_and_no_longer(run: Any, send_to: Any) -> None:
    """Errors, redirects and dropped connections are all failures; the body stays the same."""
    webhook = Webhook(500, 302, 0, 400, 204)
    delivery = run(send_to(webhook).deliver(EVENT))

    assert [attempt.status for attempt in delivery.attempts] == [500, 302, None, 400, 204]
    assert delivery.delivered
    assert len({body for _, body in webhook.received}) == 1


def test_it_gives_up_when_the_delays_run_out(run: Any, send_to: Any) -> None:
    delivery = run(send_to(Webhook(503), retry_delays_seconds=(1, 1)).deliver(EVENT))

    assert [attempt.status for attempt in delivery.attempts] == [503, 503, 503]
    assert not delivery.delivered


def test_every_try_is_signed_anew(run: Any, send_to: Any, monkeypatch: Any) -> None:
    """With its own time, so that a late redelivery is not taken for a replayed request."""
    clock = iter([1_800_000_000, 1_800_003_600])
    monkeypatch.setattr("devstack.payments.events.now", lambda: next(clock))
    webhook = Webhook(500, 200)
    run(send_to(webhook).deliver(EVENT))

    stamps = [headers["Stripe-Signature"].split(",")[0] for headers, _ in webhook.received]
    assert stamps == ["t=1800000000", "t=1800003600"]


def test_an_unreachable_webhook_is_an_attempt_without_a_status(run: Any) -> None:
    sender = StripeSender(webhook_url=f"http://127.0.0.1:{free_port()}/", secret=SECRET)
    attempt = run(sender.deliver_once(EVENT))
    run(sender.close())

    assert attempt.status is None
    assert not attempt.accepted
    assert "Cannot connect" in attempt.body


def test_a_slow_webhook_is_given_up(run: Any, send_to: Any) -> None:
    webhook = Webhook(200)
    webhook.delay_seconds = 0.3
    attempt = run(send_to(webhook).deliver_once(EVENT, timeout_seconds=0.1))

    assert attempt.status is None
    assert attempt.body == "TimeoutError"


def test_a_session_that_was_lent_stays_open(run: Any, serve: Any) -> None:
    async def lend() -> tuple[bool, bool]:
        async with ClientSession() as session:
            url = f"{webhook.url}/api/webhook"
            sender = StripeSender(webhook_url=url, secret=SECRET, session=session)
            delivery = await sender.deliver(EVENT)
            await sender.close()
            return delivery.delivered, session.closed

    webhook = serve(Webhook(200))

    assert run(lend()) == (True, False)
