"""Tells to which order a call belongs, commits that order's faults, and keeps its timeline."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from devstack.chaos.order import Order
from devstack.engine import RunUpdate
from devstack.faults import Call, Fault

GENERATE = "songswipe-generate-song"

# UUIDs and Stripe's ids, wherever they stand in a path or a body.
_NAMES = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|cs_(?:test|live)_\w+|pi_\w+")


class Directory:
    """The rule of the fault script, and a listener of the engine. Runs on the stack's loop."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self._by_name: dict[str, Order] = {}
        self._by_number: dict[int, Order] = {}
        self._began = time.monotonic()
        self.world: list[tuple[float, str]] = []

    def open(self, orders: list[Order]) -> None:
        self.orders = orders
        self._by_name = {name: order for order in orders for name in order.names}
        self._by_number = {order.schedule.number: order for order in orders}
        self._began = time.monotonic()
        self.world = []

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def note_world(self, text: str) -> None:
        """Something that befalls everybody: the app is killed, the database is away."""
        self.world.append((self.seconds, text))

    def rule(self, call: Call) -> Fault | None:
        order = self._order_of(call)
        if order is None:
            return None
        planned = order.fault_for(call)
        what = f"{call.service} {call.detail[-40:] if call.service != 'music' else ''}".strip()
        order.note(self.seconds, f"{what}{f' ! {planned.label}' if planned else ''}")
        return planned.fault if planned else None

    def heard(self, update: RunUpdate) -> None:
        """A change of a run's state."""
        order = self._known(_order_id(update.run.event))
        if order is not None:
            if update.run.function_id == GENERATE:
                order.runs[update.run.id] = update.run
            error = f": {update.run.error.get('message')}" if update.run.error else ""
            step = f" {update.step} (attempt {update.attempt})" if update.step else error
            order.note(self.seconds, f"run {update.run.id[-4:]} {update.kind}{step}")

    def _order_of(self, call: Call) -> Order | None:
        if call.service == "music":
            return self.of_prompt(call.body)
        for name in _NAMES.findall(call.path.encode() + b" " + call.body):
            order = self._by_name.get(name.decode())
            if order is not None:
                if order.order_id is None:
                    self._learn_order_id(order, call)
                return order
        return None

    def of_prompt(self, text: bytes) -> Order | None:
        """The order whose tag is in a prompt."""
        found = re.search(rb"tag-(\d+)-tag", text)
        return self._by_number.get(int(found[1])) if found else None

    def _learn_order_id(self, order: Order, call: Call) -> None:
        """From the first call that names both the customer and the order made for them."""
        try:
            body: Any = json.loads(call.body)
        except ValueError:
            return
        event = body[0] if isinstance(body, list) and body else body
        order_id = _order_id(event) if isinstance(event, dict) else None
        if order_id is not None:
            order.order_id = order_id
            self._by_name[order_id] = order

    def _known(self, order_id: str | None) -> Order | None:
        return self._by_name.get(order_id) if order_id else None


def _order_id(event: dict[str, Any]) -> str | None:
    data = event.get("data")
    if not isinstance(data, dict):
        return None
    inner = data.get("event")
    found = _order_id(inner) if isinstance(inner, dict) else data.get("orderId")
    return found if isinstance(found, str) else None
