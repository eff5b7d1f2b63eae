"""The stack as these tests break it: time passes, calls are held, the service dies and returns."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from world import GENERATE, Json, Paid, World

from devstack.faults import Call, Fault
from devstack.project.keys import SECRET_KEY
from devstack.shop import Customer
from songswipe.audio import mp3_duration_ms
from songswipe.models import GenerationRequest
from songswipe.store import ClaimTerms

APP_ENVIRON = {
    "PATIENCE_SECONDS": "0.2",
    "SUPABASE_TIMEOUT_SECONDS": "2",
    "WEBHOOK_BUDGET_SECONDS": "1.5",
    "MUSIC_CONNECT_TIMEOUT_SECONDS": "2",
    "MUSIC_READ_TIMEOUT_SECONDS": "4",
    "MUSIC_TOTAL_TIMEOUT_SECONDS": "5",
    "MAX_REDRIVES": "2",
    "RECONCILE_CRON": "*/7 * * * *",
}
"""What is not here has its production value: half an hour's deadline, a minute's grace. Where these
have to pass the rows are made older."""

RECONCILE = "songswipe-reconcile-orders"
GRACE_SECONDS = 61.0
DEADLINE_SECONDS = 1801.0

_TABLES = (
    "orders",
    "song_variants",
    "purchases",
    "variant_claims",
    "undelivered_audio",
    "failed_jobs",
    "stripe_events",
)
_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Held:
    """Calls that reached their server and are not answered. ``reached`` is set by the first."""

    reached: threading.Event

    def wait(self) -> None:
        assert self.reached.wait(_WAIT_SECONDS), "the call was never made"


@dataclass(frozen=True)
class Printed:
    """What a command of the operator's said, and the status it ended with."""

    status: int
    lines: list[str]
    errors: list[str]


class RecoveryWorld(World):
    def heal(self) -> None:
        self.faults.clear()
        self.engine.away = False
        if not self.stack.app.running:
            self.stack.app.start()
        super().heal()

    # Time

    def let_pass(self, seconds: float) -> None:
        """As if everything had lain there for so long: its times and its leases move back."""
        back = "- make_interval(secs => %s)"
        self.shop.rows(
            f"update public.orders set created_at = created_at {back},"
            f" handed_over_at = handed_over_at {back},"
            f" generation_started_at = generation_started_at {back},"
            f" redriven_at = redriven_at {back}",
            *[seconds] * 4,
        )
        self.shop.rows(
            f"update public.variant_claims set leased_until = leased_until {back}", seconds
        )

    def eventually(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"never happened: {what}"
            time.sleep(_POLL_SECONDS)

    # The sweep

    def sweep(self) -> Json:
        """The cron function's run, as Inngest starts it; what it returned. Whatever it started
        has ended when this returns."""
        run_id: str = self.stack.loop.call(lambda: self.engine.fire_cron(RECONCILE))
        self.rest()
        run = self.engine.runs[run_id]
        assert run.status == "completed", run.error
        output: Json = run.output
        return output

    def found(self) -> dict[str, int]:
        """What the sweep finds (and heals), by kind."""
        found: dict[str, int] = self.sweep()["found"]
        return found

    def command(self, *arguments: str, **environ: str) -> Printed:
        """``flask --app wsgi orders …``, as the operator types it, in the service's environment."""
        process = self.run_orders_command(*arguments, **environ)
        return Printed(process.returncode, process.stdout.splitlines(), process.stderr.splitlines())

    # What breaks

    def hold(self, matches: Callable[[Call], bool], seconds: float = 8.0) -> Held:
        """Matching calls are kept waiting, and then dropped without having been carried out."""
        reached = threading.Event()

        def rule(call: Call) -> Fault | None:
            if not matches(call):
                return None
            reached.set()
            return Fault(delay_seconds=seconds, cut="before")

        self.faults.add(rule)
        return Held(reached)

    def crash(self) -> None:
        """``kill -9`` of the whole service. What was held up is let go."""
        self.stack.app.kill()
        self.faults.clear()

    def restart(self) -> None:
        self.stack.app.start()

    # Orders made by hand, for what needs no run

    def stored_order(self, customer: Customer | None = None) -> Paid:
        """A paid order that nobody has told Inngest about."""
        paid = self.pay(customer, payment_status="unpaid")
        self.set_order(paid, status="paid")
        return paid

    def taken_order(self) -> Paid:
        """A paid order that Inngest took, and then forgot."""
        paid = self.stored_order()
        self.shop.rows(
            "update public.orders set handed_over_at = now() where id = %s", paid.order_id
        )
        return paid

    def set_order(self, paid: Paid, **columns: object) -> None:
        names = ", ".join(f"{name} = %s" for name in columns)
        query = f"update public.orders set {names} where id = %s"
        self.shop.rows(query, *columns.values(), paid.order_id)

    def start_together(self, paid: Paid, number: int) -> None:
        """Runs of one order that start at the same instant. Does not wait for them."""
        events = [
            {
                "name": "song/generation.requested",
                "data": request_of(paid).event_data(),
                "id": f"together-{uuid.uuid4()}",
            }
            for _ in range(number)
        ]
        self.wait_for(self.engine.send(*events))

    # What is there

    def state(self) -> dict[str, list[Any]]:
        """Every row of the service's, to see whether anything has changed (but for when a row was
        last written, which a write that changes nothing moves as well)."""
        return {
            table: sorted(
                (json.dumps(row, default=str, sort_keys=True) for row in self._all(table)),
            )
            for table in _TABLES
        }

    def _all(self, table: str) -> list[Json]:
        rows = self.shop.rows(f"select * from public.{table}")
        return [{name: row[name] for name in row if name != "updated_at"} for row in rows]

    def put_object(self, paid: Paid, number: int, audio: bytes) -> None:
        response = requests.post(
            f"{self.stack.gateway.url}/storage/v1/object/songs/"
            + request_of(paid).storage_path(number),
            files={"file": ("variant.mp3", audio, "audio/mpeg")},
            headers=_HEADERS,
            timeout=10,
        )
        assert response.status_code == 200

    def played(self, paid: Paid) -> list[int]:
        """The lengths of the complete songs, each downloaded and read, in milliseconds."""
        lengths = []
        for row in self.shop.variants(paid.order_id):
            if row["generation_status"] == "complete":
                response = requests.get(
                    f"{self.stack.gateway.url}/storage/v1/object/songs/{row['storage_path']}",
                    headers=_HEADERS,
                    timeout=10,
                )
                lengths.append(mp3_duration_ms(response.content))
        return lengths

    def assert_delivered(self, paid: Paid, *, songs_made: int = 3) -> None:
        """Three songs that play, paid for so often, and nobody is told of a failure."""
        assert self.order(paid)["status"] == "completed"
        assert self.states(paid) == ["complete"] * 3
        assert len(self.played(paid)) == 3
        assert self.outcomes(paid).count("delivered") == 3
        assert self.provider.songs_made == songs_made
        assert self.open_letters() == []
        assert self._all("variant_claims") == []

    def open_letters(self) -> list[Json]:
        return [row for row in self.shop.dead_letters() if row["resolved_at"] is None]

    def generating_runs(self) -> int:
        return len(self.engine.runs_of(GENERATE))


_HEADERS = {"apikey": SECRET_KEY, "Authorization": f"Bearer {SECRET_KEY}"}


def request_of(paid: Paid) -> GenerationRequest:
    return GenerationRequest(paid.order_id, paid.customer.user_id, paid.customer.customization_id)


def terms(
    token: str | None = None, *, lease_seconds: float = 60.0, run_id: str = "run-1"
) -> ClaimTerms:
    return ClaimTerms(
        token=token or str(uuid.uuid4()),
        run_id=run_id,
        attempt=0,
        lease_seconds=lease_seconds,
        prompt_sha256="0" * 64,
        model_id="music_v1",
        length_ms=60_000,
    )
