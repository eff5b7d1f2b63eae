"""The stack as the tests of the service use it: customers pay, runs come to rest, rows are read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from devstack.app_process import PROJECT
from devstack.engine import Run
from devstack.faults import Call, FaultScript
from devstack.music.provider import MusicProvider
from devstack.payments import events as stripe_events
from devstack.payments.sender import Attempt
from devstack.shop import Customer, Row, Shop
from devstack.stack import Stack

T = TypeVar("T")
Json = dict[str, Any]

GENERATE = "songswipe-generate-song"
STEPS = [
    "fetch-customization",
    "update-order-generating",
    "create-variant-records",
    "generate-and-upload-variants",
    "finalize-order",
]
GENERATING = STEPS[3]


def on(service: str, detail: str = "", method: str = "") -> Callable[[Call], bool]:
    """Matches the calls of a service, with this detail and method where they are given."""
    return lambda call: (
        call.service == service and detail in ("", call.detail) and method in ("", call.method)
    )


@dataclass(frozen=True)
class Paid:
    """A checkout that Stripe has told the service about, and what the service answered."""

    customer: Customer
    event: Json
    answer: Attempt

    @property
    def said(self) -> Json:
        return json.loads(self.answer.body)

    @property
    def order_id(self) -> str:
        return str(self.said["orderId"])

    @property
    def session(self) -> Json:
        return dict(self.event["data"]["object"])


class World:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.shop: Shop = stack.shop
        self.faults: FaultScript = stack.faults
        self.provider: MusicProvider = stack.provider
        self.engine = stack.engine
        self._log_begins = 0

    def heal(self) -> None:
        """Ends what a test has broken, and waits until nothing happens any more."""
        self.faults.clear()
        self.engine.away = False
        self.provider.concurrency_limit = None
        self.provider.compose_seconds = 0.0
        self.rest()

    def forget(self) -> None:
        """Empties the world for the next test."""
        self.shop.empty()
        self.faults.clear()
        self.engine.forget_finished()
        self.provider.calls.clear()
        self.provider.songs_made = 0
        self.provider.concurrent_max = 0
        self._log_begins = self.stack.app.log.stat().st_size

    @property
    def log(self) -> str:
        """What the app has logged since the test began."""
        with self.stack.app.log.open("rb") as file:
            file.seek(self._log_begins)
            return file.read().decode()

    # Stripe

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return self.stack.loop.run(work)

    def deliver(self, event: Json) -> Attempt:
        """One delivery, as Stripe posts it."""
        return self.wait_for(self.stack.sender.deliver_once(event))

    def paid_event(self, customer: Customer, **session: Any) -> Json:
        ids = {"user_id": customer.user_id, "customization_id": customer.customization_id}
        return stripe_events.checkout_completed(stripe_events.checkout_session(**(ids | session)))

    def pay(self, customer: Customer | None = None, **session: Any) -> Paid:
        """A customer pays and Stripe says so once. Does not wait for the songs."""
        customer = customer or self.shop.add_customer()
        event = self.paid_event(customer, **session)
        return Paid(customer, event, self.deliver(event))

    # What became of it

    def rest(self, timeout_seconds: float = 20.0) -> None:
        """Waits until no run is open."""
        self.wait_for(self.engine.wait_idle(timeout_seconds))

    def buy(self, customer: Customer | None = None, **session: Any) -> Paid:
        """A customer pays, and whatever follows has ended."""
        paid = self.pay(customer, **session)
        assert paid.answer.status == 200, paid.answer
        self.rest()
        return paid

    def order(self, paid: Paid) -> Row:
        [order] = self.shop.rows("select * from public.orders where id = %s", paid.order_id)
        return order

    def states(self, paid: Paid) -> list[str]:
        """The states of the variants, in their order."""
        return [str(row["generation_status"]) for row in self.shop.variants(paid.order_id)]

    def outcomes(self, paid: Paid) -> list[str]:
        """How the purchases in the ledger ended, sorted."""
        return sorted(str(row["outcome"]) for row in self.shop.purchases(paid.order_id))

    def runs(self) -> list[Run]:
        return self.engine.runs_of(GENERATE)

    def the_run(self) -> Run:
        [run] = self.runs()
        return run

    def run_again(self) -> None:
        """Starts the one run anew, as an operator does from the dashboard."""
        first = self.the_run()
        self.stack.loop.call(lambda: self.engine.duplicate_run(first.id))

    def operations(self) -> list[tuple[str | None, int, str | None]]:
        """Every call of the one run: the step whose body ran, its attempt, how it ended."""
        return [(call.step, call.attempt, call.op) for call in self.the_run().calls]

    def dead_letter(self) -> Row:
        [letter] = self.shop.dead_letters()
        return letter

    def reasons(self, paid: Paid) -> list[str | None]:
        """Why variants failed, in their order; None for those that did not."""
        return [row["failure_reason"] for row in self.shop.variants(paid.order_id)]

    def in_first_attempt(self, matches: Callable[[Call], bool]) -> Callable[[Call], bool]:
        """The same calls, while ``generate-and-upload-variants`` is in its first attempt: the
        fourth call of a run that went well until there."""
        return lambda call: (
            self.faults.count("step") <= STEPS.index(GENERATING) + 1 and matches(call)
        )

    def run_orders_command(
        self, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """``flask --app wsgi orders …``, as the operator types it, in the service's environment."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "orders", *arguments],
            cwd=PROJECT,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHON_DOTENV_DISABLED": "1",
                **self.stack.app_environ(),
                "LOG_LEVEL": "ERROR",
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
