"""What is printed at the end: the order, its songs, and what each part was."""

from __future__ import annotations

from devstack.demo.display import Display
from devstack.demo.parts import describe_parts
from devstack.demo.scene import Scene
from devstack.demo.songs import describe_song
from devstack.shop import Row


def report_orders(scene: Scene) -> None:
    for order in scene.stack.shop.orders():
        scene.display.say(f"\nOrder {order['id']}: {order['status']}, {_money(order)}")
    for song in scene.songs:
        scene.display.say(f"  {describe_song(song)}")


def report_dead_letters(scene: Scene) -> None:
    for letter in scene.stack.shop.dead_letters():
        scene.display.say("\nDead letter, the row in failed_jobs:")
        for column in ("job_type", "order_id", "event_data", "error_message", "retry_count"):
            scene.display.say(f"  {column:14} {letter[column]}")


def report_parts(scene: Scene) -> None:
    scene.display.say("\nWhat each part was:")
    _say_pairs(scene.display, describe_parts(scene.stack))


def _say_pairs(display: Display, pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        display.say(f"  {name:{width}}  {text}")


def _money(order: Row) -> str:
    if order["amount"] is None:
        return "amount unknown"
    return f"{order['amount'] / 100:.2f} {(order['currency'] or '').upper()}".strip()
