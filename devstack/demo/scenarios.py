"""What the demo can show: each scenario does something, and says what must then be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from devstack.demo.progress import Line
from devstack.demo.scene import Scene
from devstack.shop import Row
from devstack.stack import Options

Play = Callable[[Scene], list[Line]]


@dataclass(frozen=True)
class Scenario:
    """``done`` says what will be done; ``play`` does it and returns what was seen, judged."""

    name: str
    done: str
    play: Play
    options: Options = field(default_factory=Options)


def seen(text: str, as_expected: bool) -> Line:
    return Line(text, "done" if as_expected else "failed")


def play_plain(scene: Scene) -> list[Line]:
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    return [*saw_completed(scene, order, songs=3), saw_purchases(scene, order, expected=3)]


def saw_completed(scene: Scene, order: Row, songs: int) -> list[Line]:
    """The order says completed, and so many of its files play."""
    playable = [song for song in scene.save_songs(order) if song.duration_ms is not None]
    return [
        seen(f"the order is {order['status']}", order["status"] == "completed"),
        seen(f"{len(playable)} songs can be played", len(playable) == songs),
    ]


def saw_purchases(scene: Scene, order: Row, expected: int) -> Line:
    purchases = scene.stack.shop.purchases(order["id"])
    bought = [row for row in purchases if row["outcome"] == "delivered"]
    text = f"{len(bought)} songs were bought in {len(purchases)} calls"
    return seen(text, len(bought) == len(purchases) == expected)


PLAIN = Scenario("plain", "A customer pays for a song.", play_plain)
