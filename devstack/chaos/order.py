"""One order under its schedule: which calls are its own, and everything that happened to it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from devstack.chaos.schedule import PlannedFault, Schedule
from devstack.engine import Run
from devstack.faults import Call
from devstack.payments.objects import Json, checkout_session, new_id
from devstack.shop import Customer


@dataclass
class Order:
    """``timeline`` holds (seconds since the wave began, what happened); ``runs`` those that have
    started, by id."""

    schedule: Schedule
    customer: Customer
    session: Json
    order_id: str | None = None
    timeline: list[tuple[float, str]] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    _calls: Counter[int] = field(default_factory=Counter)

    @classmethod
    def place(cls, schedule: Schedule, customer: Customer, seed: int) -> Order:
        """The Checkout Session as the schedule's kind wants it."""
        rng = random.Random(f"{seed}/{schedule.number}/session")
        metadata = {"customizationId": customer.customization_id, "userId": customer.user_id}
        status, amount = "paid", 799
        match schedule.kind:
            case "free":
                status, amount = "no_payment_required", 0
            case "paid_later" | "payment_failed" | "expired":
                status = "unpaid"
            case "impossible":
                metadata["customizationId"] = "00000000-0000-4000-8000-000000000000"
            case "malformed":
                metadata["userId"] = "not-a-uuid/" + customer.user_id
            case "foreign":
                metadata = {"campaign": customer.user_id}
        session = checkout_session(
            user_id=customer.user_id,
            customization_id=customer.customization_id,
            payment_status=status,
            amount_total=amount,
            metadata=metadata,
            payment_intent=None if amount == 0 else new_id("pi", rng=rng),
            rng=rng,
        )
        return cls(schedule, customer, session)

    @property
    def names(self) -> list[str]:
        """Whatever in a call tells that it is this order's."""
        names = [self.customer.user_id, self.customer.customization_id, self.session["id"]]
        return [*names, self.session["payment_intent"]] if self.session["payment_intent"] else names

    def note(self, seconds: float, text: str) -> None:
        self.timeline.append((seconds, text))

    def fault_for(self, call: Call) -> PlannedFault | None:
        """The planned fault whose turn this call is. Counts the call for each that matches."""
        due = None
        for index, planned in enumerate(self.schedule.faults):
            if planned.service != call.service or planned.detail not in ("", call.detail):
                continue
            self._calls[index] += 1
            if due is None and planned.first <= self._calls[index] <= planned.last:
                due = planned
        return due
