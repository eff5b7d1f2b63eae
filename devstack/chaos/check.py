"""The invariants, checked after a wave: in the database, the objects, the ledger, the provider's
own count, the engine's state and the app's log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.chaos.directory import GENERATE
from devstack.chaos.order import Order
from devstack.chaos.play import Wave
from devstack.chaos.schedule import tag
from devstack.shop import Row, Shop
from songswipe.audio import mp3_duration_ms

_PAID = ("paid", "free", "paid_later", "part_refunded")
_NEVER_PAID = ("payment_failed", "expired")
_PAID_BACK = ("refunded", "refunded_at_once", "refunded_first", "disputed")


@dataclass(frozen=True)
class Violation:
    """``rule`` is the invariant's name in the design, ``order`` None where all are concerned."""

    rule: str
    order: Order | None
    what: str


@dataclass(frozen=True)
class Evidence:
    """Everything a wave left behind, fetched once and sorted by order."""

    orders: dict[str, list[Row]]
    variants: dict[str, list[Row]]
    purchases: dict[str, list[Row]]
    letters: list[Row]
    events: list[Row]
    objects: dict[str, str]
    folder: Path

    @classmethod
    def collect(cls, shop: Shop, folder: Path) -> Evidence:
        return cls(
            orders=_by(shop.orders(), "stripe_session_id"),
            variants=_by(shop.rows("select * from public.song_variants"), "order_id"),
            purchases=_by(shop.rows("select * from public.purchases"), "order_id"),
            letters=shop.dead_letters(),
            events=shop.rows("select * from public.stripe_events"),
            objects={
                row["name"]: row["version"]
                for row in shop.rows("select name, version from storage.objects")
            },
            folder=folder,
        )

    def open_letters(self, job_type: str, **fields: object) -> list[Row]:
        return [
            letter
            for letter in self.letters
            if letter["resolved_at"] is None
            and letter["job_type"] == job_type
            and all(str(letter[key]) == str(value) for key, value in fields.items())
        ]

    def plays(self, path: str) -> bool:
        """Whether there is a complete MP3 at a storage path."""
        version = self.objects.get(path)
        if version is None:
            return False
        try:
            audio = (self.folder / "songs" / path / f"{version}.mp3").read_bytes()
            return mp3_duration_ms(audio) > 0
        except (OSError, ValueError):
            return False


def violations(wave: Wave, evidence: Evidence, app_log: str) -> Iterator[Violation]:
    """Every broken invariant, the orders' own first."""
    for order in wave.orders:
        for rule, what in _of_order(order, wave, evidence):
            yield Violation(rule, order, what)
    yield from _words_that_leaked(wave, app_log)
    if not wave.settled:
        yield Violation("I2", None, "orders or runs were still open when time was up")


Complaint = tuple[str, str]


def _of_order(order: Order, wave: Wave, evidence: Evidence) -> Iterator[Complaint]:
    session_id = order.session["id"]
    rows = evidence.orders.get(session_id, [])
    letters = evidence.open_letters("checkout", stripe_session_id=session_id)
    kind = order.schedule.kind
    if kind in ("impossible", "malformed", "foreign"):
        expected = 0 if kind == "foreign" else 1
        if rows:
            yield "I1", f"a session that is {kind} became {len(rows)} orders"
        if len(letters) != expected:
            yield "I6", f"{len(letters)} open dead letters for a session that is {kind}"
        return
    if len(rows) != 1:
        yield "I1", f"{len(rows)} orders for one session"
        return
    if letters:
        yield "I6", "an order was made, and its session has an open dead letter"
    row = rows[0]
    order_id = str(row["id"])
    variants = evidence.variants.get(order_id, [])
    purchases = evidence.purchases.get(order_id, [])
    yield from _end_state(order, row["status"])
    yield from _purchases(order, purchases, variants, wave)
    yield from _in_vain(order, purchases, wave)
    yield from _songs(row["status"], variants, evidence)
    yield from _refund(order, purchases, evidence)
    yield from _dead_letters(row, evidence, wave)


def _end_state(order: Order, status: str) -> Iterator[Complaint]:
    kind = order.schedule.kind
    if kind in _PAID and status not in ("completed", "failed"):
        yield "I2", f"a paid order ended as {status}"
    if kind in _PAID_BACK and status != "refunded":
        yield "I5", f"a {kind} order ended as {status}"
    if kind in _NEVER_PAID and status != "canceled":
        yield "I2", f"an order that was never paid ended as {status}"


def _purchases(
    order: Order, purchases: list[Row], variants: list[Row], wave: Wave
) -> Iterator[Complaint]:
    if order.schedule.kind in _NEVER_PAID and purchases:
        yield "I3", "songs were bought for an order that was never paid"
    for number, rows in _by(purchases, "variant_number").items():
        outcomes = [row["outcome"] for row in rows]
        if outcomes.count("delivered") > 1:
            yield "I3", f"variant {number} was bought {outcomes.count('delivered')} times"
        if outcomes.count("delivered") + outcomes.count("unknown") > 2:
            yield "I3", f"variant {number} may have been bought more than twice: {outcomes}"
        if None in outcomes:
            yield "I3", f"variant {number} has a purchase that was never closed"
    composed = wave.songs_composed.get(order.schedule.number, 0)
    delivered = sum(row["outcome"] == "delivered" for row in purchases)
    in_doubt = sum(row["outcome"] == "unknown" for row in purchases)
    if not delivered <= composed <= delivered + in_doubt:
        yield "I3", f"{composed} songs made, {delivered} delivered and {in_doubt} unknown"
    complete = sum(row["generation_status"] == "complete" for row in variants)
    kept = sum(row["reason"] == "kept_in_database" for row in purchases)
    if not complete <= delivered <= complete + kept:
        yield "I3", f"{delivered} delivered in the ledger, {complete} variants complete"


def _in_vain(order: Order, purchases: list[Row], wave: Wave) -> Iterator[Complaint]:
    """Where nothing could hide from us that a song was made, none is bought and then lost.

    A slow machine can: then the ledger says so itself, with another reason than interrupted.
    """
    schedule = order.schedule
    hidden = (
        schedule.leaves_doubt
        or schedule.kind in _PAID_BACK
        or any(planned.service == "storage" for planned in schedule.faults)
        or any(text.startswith(_HIDING) for _, text in wave.world)
        or any(row["outcome"] == "unknown" and row["reason"] != "interrupted" for row in purchases)
    )
    composed = wave.songs_composed.get(schedule.number, 0)
    delivered = sum(row["outcome"] == "delivered" for row in purchases)
    if not hidden and composed != delivered:
        yield "I3", f"{composed} songs made and {delivered} delivered, although none was in doubt"


_HIDING = ("app killed", "database away")


def _songs(status: str, variants: list[Row], evidence: Evidence) -> Iterator[Complaint]:
    complete = [row for row in variants if row["generation_status"] == "complete"]
    for row in complete:
        if not evidence.plays(row["storage_path"]):
            yield "I4", f"variant {row['variant_number']} is complete and cannot be played"
    if status == "completed" and not complete:
        yield "I4", "completed without a song"
    if status == "failed" and complete:
        yield "I4", f"failed with {len(complete)} songs"
    if status in ("completed", "failed"):
        open_ones = [row for row in variants if row["generation_status"] in _OPEN]
        if open_ones:
            yield "I4", f"{status} with variants that are {open_ones[0]['generation_status']}"


_OPEN = ("pending", "generating")


def _refund(order: Order, purchases: list[Row], evidence: Evidence) -> Iterator[Complaint]:
    paid_back = [
        row["received_at"]
        for row in evidence.events
        if row["ends_payment"] and row["payment_intent"] == order.session["payment_intent"]
    ]
    late = [row for row in purchases if paid_back and row["opened_at"] > min(paid_back)]
    if late:
        yield "I5", f"{len(late)} purchases after the refund was recorded"


def _dead_letters(row: Row, evidence: Evidence, wave: Wave) -> Iterator[Complaint]:
    letters = evidence.open_letters("song_generation", order_id=row["id"])
    expected = 1 if row["status"] == "failed" else 0
    if len(letters) != expected:
        yield "I6", f"{row['status']} with {len(letters)} open dead letters"
    for letter in letters:
        if letter["event_data"].get("orderId") != str(row["id"]):
            yield "I6", "a dead letter without the event's data"
        true_count = _retries_of(letter, row, wave, evidence)
        if letter["retry_count"] not in true_count:
            yield "I6", f"retry_count {letter['retry_count']}, and it was {sorted(true_count)}"


def _retries_of(letter: Row, row: Row, wave: Wave, evidence: Evidence) -> set[int]:
    """What may stand in the dead letter: the attempts that the engine counted in the run which
    failed, and those of the run that called the provider last. The sweep's own letters count
    how often it had started the order anew, or the same."""
    runs = [run for run in wave.runs if run.function_id == GENERATE and run.id == letter["run_id"]]
    counts = {call.attempt for run in runs for call in run.calls}
    purchases = evidence.purchases.get(str(row["id"]), [])
    counts |= {purchase["attempt"] for purchase in purchases}
    return counts if runs else counts | {row["redrives"], 0}


def _words_that_leaked(wave: Wave, app_log: str) -> Iterator[Violation]:
    for order in wave.orders:
        word = tag(order.schedule.number)
        if word in app_log:
            yield Violation("I7", order, "a customer's words are in the log")
    for run in wave.runs:
        state: Any = [run.event, run.steps, run.output, run.error]
        if "-tag" in json.dumps(state, default=str):
            yield Violation("I7", None, f"a customer's words are in the state of run {run.id}")


def _by(rows: list[Row], key: str) -> dict[Any, list[Row]]:
    sorted_rows: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        value = row[key]
        sorted_rows[value if isinstance(value, int) else str(value)].append(row)
    return sorted_rows
