"""The stack as the tests of money use it: Stripe's events in any order, its API, the commands."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import requests
from world import Json, Paid, World

from devstack.faults import Call, Fault
from devstack.payments import events as stripe_events
from devstack.payments.objects import checkout_session
from devstack.payments.sender import Attempt
from devstack.project.keys import SECRET_KEY
from devstack.shop import Customer, Row
from devstack.stack import Stack
from songswipe.audio import mp3_duration_ms
from songswipe.checkout import CheckoutChange, PaymentChange, decide, parse_event
from songswipe.models import GenerationRequest
from songswipe.store import ClaimTerms, Store, connect

SWEEP = "songswipe-reconcile-orders"
RECONCILE = "songswipe-reconcile-payments"

_TABLES = ("orders", "song_variants", "purchases", "failed_jobs", "stripe_events")
_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Printed:
    """What a command of the operator's said, and the status it ended with."""

    status: int
    lines: list[str]
    errors: str


class MoneyWorld(World):
    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.stripe = stack.stripe_api
        self._client = connect(stack.gateway.url, SECRET_KEY, 10.0)
        self.store = Store(self._client)

    def close(self) -> None:
        self._client.postgrest.session.close()

    def forget(self) -> None:
        super().forget()
        for objects in (self.stripe.sessions, self.stripe.refunds, self.stripe.disputes):
            objects.clear()
        self.stripe.events.clear()
        self.stripe.restricted.clear()
        self.stripe.page_limit = 100

    def heal(self) -> None:
        self.faults.clear()
        if not self.stack.app.running:
            self.stack.app.start()
        super().heal()

    def eventually(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"never happened: {what}"
            time.sleep(_POLL_SECONDS)

    # Stripe

    def session(self, customer: Customer | None = None, **session: Any) -> Json:
        """A Checkout Session of a customer of ours, of which nobody has told us."""
        customer = customer or self.shop.add_customer()
        ids = {"user_id": customer.user_id, "customization_id": customer.customization_id}
        made: Json = checkout_session(**(ids | session))
        return made

    def in_stripe(self, customer: Customer | None = None, **session: Any) -> Json:
        """The same, and Stripe's API knows it."""
        made = self.session(customer, **session)
        self.stripe.add_session(made)
        return made

    def pay_in_stripe(self, **session: Any) -> Paid:
        """A customer pays, Stripe's API knows it, and Stripe says so once."""
        customer = self.shop.add_customer()
        event = self.paid_event(customer, **session)
        self.stripe.add_session(event["data"]["object"])
        paid = Paid(customer, event, self.deliver(event))
        assert paid.answer.status == 200, paid.answer
        return paid

    def buy_in_stripe(self, **session: Any) -> Paid:
        """The same, and whatever follows has ended."""
        paid = self.pay_in_stripe(**session)
        self.rest()
        return paid

    def deliver_at_once(self, events: Iterable[Json]) -> list[Attempt]:
        async def deliver() -> list[Attempt]:
            return await asyncio.gather(*map(self.stack.sender.deliver_once, events))

        return self.wait_for(deliver())

    def refund(self, paid: Paid) -> Attempt:
        """Stripe says that all of it was given back."""
        amount = paid.session["amount_total"]
        return self.deliver(
            stripe_events.charge_refunded(paid.session["payment_intent"], amount, amount)
        )

    def hold(self, matches: Callable[[Call], bool]) -> threading.Event:
        """Matching calls are kept waiting and never carried out; set once there is one."""
        reached = threading.Event()

        def rule(call: Call) -> Fault | None:
            if not matches(call):
                return None
            reached.set()
            return Fault(delay_seconds=_WAIT_SECONDS, cut="before")

        self.faults.add(rule)
        return reached

    def crash(self, once: threading.Event) -> None:
        """``kill -9`` of the whole service at that moment; then it is started again."""
        assert once.wait(_WAIT_SECONDS), "the call was never made"
        self.stack.app.kill()
        self.faults.clear()
        self.rest()
        self.stack.app.start()

    # The operator

    def command(self, *arguments: str, **environ: str) -> Printed:
        """``flask --app wsgi orders …`` in the service's environment."""
        process = self.run_orders_command(*arguments, **environ)
        return Printed(process.returncode, process.stdout.splitlines(), process.stderr.strip())

    def cron(self, function: str) -> Json:
        """A run of a cron function, as Inngest starts it; what it returned. Whatever it started
        has ended when this returns."""
        run_id: str = self.stack.loop.call(lambda: self.engine.fire_cron(function))
        self.rest()
        run = self.engine.runs[run_id]
        assert run.status == "completed", run.error
        output: Json = run.output
        return output

    # What is there

    def order_of(self, session: Json) -> Row | None:
        return self.shop.order_of_session(session["id"])

    def status_of(self, session: Json) -> str | None:
        order = self.order_of(session)
        return order["status"] if order else None

    def events(self) -> list[Row]:
        return self.shop.rows("select * from public.stripe_events order by received_at, id")

    def letters(self) -> tuple[list[Row], list[Row]]:
        """The dead letters: open ones, and those that are settled."""
        letters = self.shop.dead_letters()
        return (
            [row for row in letters if row["resolved_at"] is None],
            [row for row in letters if row["resolved_at"] is not None],
        )

    def late_purchases(self) -> list[Row]:
        """Purchases that began after the end of their payment was recorded."""
        return self.shop.rows(
            "select p.* from public.purchases p join public.orders o on o.id = p.order_id"
            " join public.stripe_events e using (payment_intent)"
            " where e.ends_payment and p.opened_at > e.received_at"
        )

    def state(self) -> dict[str, list[str]]:
        """Every row of the service's, to see whether anything has changed."""
        return {
            table: sorted(str(row) for row in self.shop.rows(f"select * from public.{table}"))
            for table in _TABLES
        }

    def played(self, paid: Paid) -> int:
        """How many complete songs of an order can be downloaded and played."""
        complete = [
            row
            for row in self.shop.variants(paid.order_id)
            if row["generation_status"] == "complete"
        ]
        headers = {"apikey": SECRET_KEY, "Authorization": f"Bearer {SECRET_KEY}"}
        address = f"{self.stack.gateway.url}/storage/v1/object/songs/"
        songs = [requests.get(address + row["storage_path"], headers=headers) for row in complete]
        return sum(mp3_duration_ms(song.content) > 0 for song in songs)


def record(store: Store, event: Json) -> None:
    """What the webhook does with an event, without HTTP and without Inngest."""
    parsed = parse_event(event)
    match decide(parsed, livemode=False):
        case CheckoutChange() as change:
            store.record_checkout(parsed, change)
        case PaymentChange() as change:
            store.record_refund(parsed, change)


def purchases_allowed(store: Store, order: Row) -> int:
    """How many songs a run of the order that starts now would buy."""
    request = GenerationRequest(
        str(order["id"]), str(order["user_id"]), str(order["customization_id"])
    )
    if store.begin_generation(request) != "generate":
        return 0
    store.insert_variants(request)
    terms = [
        ClaimTerms(str(uuid.uuid4()), "run-1", 0, 60.0, "0" * 64, "music_v1", 60_000)
        for _ in range(3)
    ]
    claims = [store.claim_variant(request, n, term) for n, term in enumerate(terms, start=1)]
    return sum(claim.decision == "buy" for claim in claims)
