"""What Stripe's events can do to an order."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from devstack.demo.progress import FUNCTION, Line
from devstack.demo.scenarios import Scenario, saw_calls, saw_songs, saw_status, seen
from devstack.demo.scene import Payment, Scene
from devstack.faults import always
from devstack.music.faults import throttled
from devstack.payments import events as stripe_events
from devstack.payments.sender import Attempt

_DELIVERIES = 40
_RETRY_AFTER_SECONDS = 2
_RECONCILIATION = "reconcile-payments"


def play_duplicates(scene: Scene) -> list[Line]:
    payment = scene.pay()
    answers = scene.stack.loop.run(_deliver_at_once(scene, payment))
    statuses = Counter(answer.status for answer in answers)
    slowest = max(answer.seconds for answer in answers)
    text = f"{_DELIVERIES} deliveries: all answered within {slowest:.2f} s"
    scene.display.tell(Line(text, "done"))
    order = scene.follow(payment)
    orders = len(scene.stack.shop.orders())
    runs = len(scene.runs_of(FUNCTION))
    return [
        seen(f"All {_DELIVERIES} were answered 200.", statuses == {200: _DELIVERIES}),
        seen(f"Orders: {orders}. Runs: {runs}.", (orders, runs) == (1, 1)),
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=3, bought=3),
    ]


async def _deliver_at_once(scene: Scene, payment: Payment) -> list[Attempt]:
    tries = [scene.stack.sender.deliver_once(payment.event) for _ in range(_DELIVERIES)]
    return await asyncio.gather(*tries)


def play_refund(scene: Scene) -> list[Line]:
    scene.stack.faults.add(
        always(throttled(_RETRY_AFTER_SECONDS), lambda call: call.service == "music")
    )
    payment = scene.pay()
    scene.deliver(payment.event)
    scene.follow_until(payment, lambda *_: len(scene.stack.provider.calls) == 3)
    scene.stack.faults.clear()  # the provider would deliver now
    amount = payment.session["amount_total"]
    scene.deliver(stripe_events.charge_refunded(payment.session["payment_intent"], amount, amount))
    order = scene.follow(payment)
    time.sleep(_RETRY_AFTER_SECONDS + 1)
    scene.display.tell(Line(f"{_RETRY_AFTER_SECONDS + 1} s later", "done"))
    statuses = [run.status for run in scene.runs_of(FUNCTION)]
    return [
        saw_status(order, "refunded"),
        seen(f"The run is {statuses[0]}.", statuses == ["cancelled"]),
        saw_calls(scene, order, calls=3, bought=0),
    ]


def play_webhook_lost(scene: Scene) -> list[Line]:
    payment = scene.pay()
    orders = len(scene.stack.shop.orders())
    scene.display.tell(Line("paid, and no webhook comes", "done"))
    scene.start_cron(_RECONCILIATION)
    order = scene.follow(payment)
    return [
        seen(f"Before the reconciliation there were {orders or 'no'} orders.", orders == 0),
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=3, bought=3),
    ]


DUPLICATES = Scenario(
    name="duplicates",
    summary="forty deliveries of one payment at once",
    done=f"Stripe delivers one event {_DELIVERIES} times at once.",
    play=play_duplicates,
)
REFUND = Scenario(
    name="refund",
    summary="a refund while the songs are still waiting for the provider",
    done=f"The provider puts all three songs off (429, Retry-After: {_RETRY_AFTER_SECONDS}). "
    "While they wait, the payment is refunded in full.",
    play=play_refund,
)
WEBHOOK_LOST = Scenario(
    name="webhook-lost",
    summary="Stripe's event never arrives",
    done="The event of a payment never arrives. The daily reconciliation with Stripe is started by "
    "hand.",
    play=play_webhook_lost,
)
