"""What a scenario is, and the judgements that several of them share."""

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
    """``summary`` is a line for the list, ``done`` says what will be done; ``play`` does it and
    returns what was seen, judged."""

    name: str
    summary: str
    done: str
    play: Play
    options: Options = field(default_factory=Options)


def seen(text: str, as_expected: bool) -> Line:
    return Line(text, "done" if as_expected else "failed")


def saw_status(order: Row, expected: str) -> Line:
    return seen(f"The order is {order['status']}.", order["status"] == expected)


def saw_songs(scene: Scene, order: Row, expected: int) -> Line:
    """Saves the order's songs, and looks whether they play."""
    playable = [song for song in scene.save_songs(order) if song.duration_ms is not None]
    return seen(f"{len(playable)} of 3 songs can be played.", len(playable) == expected)


def saw_calls(scene: Scene, order: Row, *, calls: int, bought: int) -> Line:
    """What the ledger says; our own provider must have counted the same."""
    ledger = scene.stack.books.purchases(order["id"])
    delivered = sum(row["outcome"] == "delivered" for row in ledger)
    text = f"The provider was called {_times(len(ledger))} and made {_songs(delivered)}."
    agreed = (len(ledger), delivered) == (calls, bought)
    if scene.stack.services.music is None:
        provider = scene.stack.provider
        agreed = agreed and (len(provider.calls), provider.songs_made) == (calls, bought)
    return seen(text, agreed)


def saw_dead_letters(scene: Scene, expected: int) -> Line:
    found = len(scene.stack.shop.dead_letters())
    text = "There is one dead letter." if found == 1 else f"There are {found or 'no'} dead letters."
    return seen(text, found == expected)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _songs(number: int) -> str:
    return {0: "no song", 1: "one song"}.get(number, f"{number} songs")
