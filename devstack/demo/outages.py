"""What happens while the database or Inngest is away."""

from __future__ import annotations

from devstack.demo.progress import Line
from devstack.demo.scenarios import Scenario, saw_calls, saw_songs, saw_status, seen
from devstack.demo.scene import Scene
from devstack.stack import Options

_SWEEP = "reconcile-orders"
_WEBHOOK_SECONDS = 3.0


def play_database_away(scene: Scene) -> list[Line]:
    payment = scene.pay()
    scene.stack.postgres.pause()
    scene.display.tell(Line("database stopped", "done"))
    first = scene.deliver(payment.event)
    scene.stack.postgres.resume()
    scene.display.tell(Line("database started again", "done"))
    second = scene.redeliver(payment.event)
    order = scene.follow(payment)
    return [
        seen(
            f"The first delivery was answered {first.status} after {first.seconds:.2f} s.",
            first.status == 503 and first.seconds < _WEBHOOK_SECONDS,
        ),
        seen(f"The last one was answered {second.status}.", second.status == 200),
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=3, bought=3),
    ]


def play_inngest_away(scene: Scene) -> list[Line]:
    payment = scene.pay()
    scene.set_engine_away(True)
    first = scene.deliver(payment.event)
    before = scene.order_of(payment)
    scene.set_engine_away(False)
    scene.display.tell(Line("Inngest is back; the sweep is started", "done"))
    scene.start_cron(_SWEEP)
    order = scene.follow(payment)
    return [
        seen(
            f"The delivery was answered {first.status} after {first.seconds:.2f} s.",
            first.status == 200 and first.seconds < _WEBHOOK_SECONDS,
        ),
        seen(
            f"The order was then {before and before['status']}, and nobody worked on it.",
            before is not None and before["status"] == "paid" and before["handed_over_at"] is None,
        ),
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=3, bought=3),
    ]


DATABASE_AWAY = Scenario(
    name="database-away",
    summary="the database is stopped while Stripe delivers the payment",
    done="The database is stopped before the webhook arrives. Stripe delivers again once it is "
    "back.",
    play=play_database_away,
)
INNGEST_AWAY = Scenario(
    name="inngest-away",
    summary="Inngest cannot be reached while Stripe delivers the payment",
    done="Inngest is unreachable while the webhook arrives. When it is back the sweep, which "
    "otherwise runs every two minutes, is started by hand.",
    play=play_inngest_away,
    options=Options(app_environ={"HANDOVER_GRACE_SECONDS": "0.1"}),
)
