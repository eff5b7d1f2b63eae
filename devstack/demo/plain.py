"""The demo without a fault."""

from __future__ import annotations

from itertools import cycle

from devstack.demo.progress import Line
from devstack.demo.scenarios import Scenario, saw_calls, saw_songs, saw_status
from devstack.demo.scene import Scene
from devstack.faults import Call, Fault, Rule


def play(scene: Scene) -> list[Line]:
    scene.stack.faults.add(_unlike_durations(scene.stack.options.compose_seconds))
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    return [
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=3, bought=3),
    ]


def _unlike_durations(seconds: float) -> Rule:
    """No two songs take equally long, with the real provider either."""
    delays = cycle([0.0, 0.2 * seconds, 0.4 * seconds])
    return lambda call: _delayed(call, next(delays)) if call.service == "music" else None


def _delayed(call: Call, seconds: float) -> Fault:
    return Fault(delay_seconds=seconds)


PLAIN = Scenario(
    name="plain",
    summary="nothing goes wrong",
    done="A customer pays for a song, and Stripe says so.",
    play=play,
)
