"""What is printed at the end: the order, its songs, and what each part was."""

from __future__ import annotations

import json

from devstack.demo.display import Display
from devstack.demo.scene import Scene
from devstack.demo.songs import describe_song
from devstack.parts import describe_parts
from devstack.shop import Row


def report_order(scene: Scene, order: Row) -> None:
    scene.display.say(f"\nOrder {order['id']}: {order['status']}, {_money(order)}")
    for song in scene.songs:
        scene.display.say(f"  {describe_song(song)}")


def report_dead_letters(scene: Scene, order: Row) -> None:
    for letter in scene.stack.books.dead_letters_of(order["id"]):
        resolved = f", resolved: {letter['notes']}" if letter["resolved_at"] else ""
        scene.display.say(f"\nDead letter, the row in failed_jobs{resolved}")
        columns = ("job_type", "order_id", "event_data", "error_message", "retry_count")
        _say_pairs(scene.display, [(column, _cell(letter[column])) for column in columns])


def report_parts(scene: Scene) -> None:
    scene.display.say("\nWhat each part was:")
    _say_pairs(scene.display, describe_parts(scene.stack))


def _say_pairs(display: Display, pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        display.say(f"  {name:{width}}  {text}")


def _cell(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _money(order: Row) -> str:
    if order["amount"] is None:
        return "amount unknown"
    return f"{order['amount'] / 100:.2f} {(order['currency'] or '').upper()}".strip()
