"""What is going to happen to one order: drawn from a seed, before anything happens. Pure.

A schedule is reproducible: the same seed and number always give the same customer, deliveries and
faults. Only the interleaving with other orders is left to the machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from devstack.faults import Fault
from devstack.music.faults import (
    HTML_PAGE,
    INVALID_KEY,
    QUOTA_EXCEEDED,
    VALIDATION_ERROR,
    bad_prompt,
    throttled,
    unavailable,
)

Kind = Literal[
    "paid", "free", "paid_later", "payment_failed", "expired", "impossible", "malformed", "foreign",
    "refunded", "refunded_at_once", "refunded_first", "part_refunded", "disputed",
]  # fmt: skip
"""What the customer does, and so how the order has to end."""

_KINDS: dict[Kind, int] = {
    "paid": 62,
    "free": 3,
    "paid_later": 6,
    "payment_failed": 3,
    "expired": 2,
    "impossible": 3,
    "malformed": 2,
    "foreign": 2,
    "refunded": 8,
    "refunded_at_once": 3,
    "refunded_first": 3,
    "part_refunded": 3,
    "disputed": 3,
}

# Longer than the app's timeouts in the kit: the call is done although nobody waits for it.
LATE_SECONDS = 1.3


@dataclass(frozen=True)
class Delivery:
    """One event of the order's story, sent ``copies`` times at once, ``at_seconds`` after the
    order's start. Names are those of ``devstack.payments.events``, or ``part_refunded``."""

    event: str
    at_seconds: float
    copies: int


@dataclass(frozen=True)
class PlannedFault:
    """``fault`` befalls the calls ``first`` to ``last`` (from 1) of a service and detail."""

    service: str
    detail: str
    first: int
    last: int
    fault: Fault
    label: str


@dataclass(frozen=True)
class Schedule:
    number: int
    kind: Kind
    deliveries: tuple[Delivery, ...]
    faults: tuple[PlannedFault, ...]
    replays_at_seconds: tuple[float, ...]

    @property
    def leaves_doubt(self) -> bool:
        """Whether a fault of it can leave the outcome of a purchase unknown."""
        return any(f.service == "music" and f.label in _DOUBTFUL for f in self.faults)


def tag(number: int) -> str:
    """What a customer's words carry, so that their prompt can be told from others'."""
    return f"tag-{number}-tag"


def draw_schedule(seed: int, number: int) -> Schedule:
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    replays = [rng.uniform(0.05, 2.0) for _ in range(rng.choice([0] * 8 + [1, 2]))]
    return Schedule(
        number=number,
        kind=kind,
        deliveries=tuple(_draw_deliveries(rng, kind)),
        faults=tuple(_draw_faults(rng, number)),
        replays_at_seconds=tuple(replays),
    )


def _draw_deliveries(rng: random.Random, kind: Kind) -> list[Delivery]:
    stories: dict[Kind, list[str]] = {
        "paid_later": ["checkout_completed", "async_payment_succeeded"],
        "payment_failed": ["checkout_completed", "async_payment_failed"],
        "expired": ["checkout_completed", "async_payment_failed", "expired"],
        "refunded": ["checkout_completed", "charge_refunded"],
        "refunded_at_once": ["checkout_completed", "refund_created"],
        "refunded_first": ["charge_refunded", "refund_created", "checkout_completed"],
        "part_refunded": ["checkout_completed", "part_refunded"],
        "disputed": ["checkout_completed", "dispute_created"],
    }
    events = stories.get(kind, ["checkout_completed"])
    # Stripe keeps no order, so the second may come long after the first, at once, or before it.
    return [
        Delivery(
            event,
            0.0 if position == 0 and rng.random() < 0.7 else rng.uniform(0.0, 1.5),
            rng.choice([1, 1, 1, 2, 3, 5]),
        )
        for position, event in enumerate(events)
    ]


Draw = Callable[[random.Random, int], tuple[Fault, str]]


def _draw_faults(rng: random.Random, number: int) -> list[PlannedFault]:
    count = rng.choices([0, 1, 2, 3, 4, 6], [20, 25, 20, 15, 12, 8])[0]
    return [_draw_fault(rng, number) for _ in range(count)]


def _draw_fault(rng: random.Random, number: int) -> PlannedFault:
    service = rng.choices(list(_SERVICES), [weight for weight, _, _ in _SERVICES.values()])[0]
    _, details, draw = _SERVICES[service]
    fault, label = draw(rng, number)
    first = rng.choice([1, 1, 1, 2, 3])
    # Most faults pass; a few are an outage that outlasts every retry of a run. Only the provider's
    # may last for ever: without its database no service can bring an order to its end.
    longest = 1000 if service == "music" else 14
    length = rng.choices([1, 2, 4, longest], [70, 18, 9, 3])[0]
    if service in ("answer", "repeat"):
        length = 1
    return PlannedFault(service, rng.choice(details), first, first + length - 1, fault, label)


def _draw_database_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return rng.choice([
        (Fault(cut="before"), "refused"),
        (Fault(cut="after"), "answer lost after commit"),
        (Fault(cut="middle"), "answer cut"),
        (Fault(delay_seconds=LATE_SECONDS), "committed late"),
        (_json(503, b'{"code":"PGRST002","message":"no database"}'), "503"),
        (_json(500, b'{"code":"57014","message":"statement timeout"}'), "statement timeout"),
        (Fault(status=502, headers=_HTML, body=b"<html>bad gateway</html>"), "502 page"),
        (Fault(status=200, headers=_HTML, body=b"<html>hello</html>"), "200 page"),
    ])  # fmt: skip


def _draw_storage_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    duplicate = b'{"statusCode":"409","error":"Duplicate","message":"exists"}'
    return rng.choice([
        (Fault(cut="before"), "refused"),
        (Fault(cut="after"), "answer lost after storing"),
        (Fault(delay_seconds=LATE_SECONDS), "stored late"),
        (_json(500, b'{"statusCode":"500","error":"internal","message":"x"}'), "500"),
        (_json(544, b'{"statusCode":"544","error":"DatabaseTimeout","message":"x"}'), "544"),
        (_json(400, duplicate), "409"),
    ])  # fmt: skip


def _draw_music_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return rng.choice([
        (bad_prompt(), "rejected"),
        (bad_prompt(f"A gentle song about a lake, {tag(number)}."), "rejected with suggestion"),
        (INVALID_KEY, "401"),
        (QUOTA_EXCEEDED, "quota"),
        (VALIDATION_ERROR, "422"),
        (throttled(), "429"),
        (throttled(2), "429 with Retry-After"),
        (unavailable(500), "500"),
        (unavailable(503), "503"),
        (Fault(status=504, headers=_HTML, body=b"<html>timeout</html>"), "504"),
        (Fault(cut="before"), "cut before composing"),
        (Fault(cut="after"), "cut after composing"),
        (Fault(cut="middle"), "body cut"),
        (Fault(truncate=True), "body truncated"),
        (HTML_PAGE, "200 page"),
        (Fault(delay_seconds=LATE_SECONDS), "composed late"),
        (Fault(delay_seconds=LATE_SECONDS, cut="before"), "timeout before composing"),
    ])  # fmt: skip


_DOUBTFUL = frozenset({
    "504", "cut before composing", "cut after composing", "body cut", "body truncated",
    "composed late", "timeout before composing",
})  # fmt: skip


def _draw_events_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return rng.choice([
        (Fault(cut="before"), "refused"),
        (Fault(cut="after"), "taken, answer lost"),
        (Fault(status=503, body=b"{}"), "503"),
        (Fault(delay_seconds=LATE_SECONDS), "taken late"),
    ])  # fmt: skip


def _draw_step_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return rng.choice([(Fault(cut="before"), "not reached"), (Fault(status=502), "502")])


def _draw_answer_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return Fault(cut="after"), "engine loses the answer"


def _draw_repeat_fault(rng: random.Random, number: int) -> tuple[Fault, str]:
    return Fault(delay_seconds=rng.choice([0.0, 0.3])), "engine repeats the step"


def _json(status: int, body: bytes) -> Fault:
    return Fault(status=status, headers={"Content-Type": "application/json"}, body=body)


_HTML = {"Content-Type": "text/html"}
_STEPS = (
    "fetch-customization",
    "update-order-generating",
    "create-variant-records",
    "generate-and-upload-variants",
    "finalize-order",
)
_DATABASE_CALLS = (
    "rpc/record_checkout", "rpc/mark_handed_over", "customizations", "rpc/begin_generation",
    "song_variants", "orders", "rpc/claim_variant", "rpc/claim_variant", "rpc/finish_variant",
    "rpc/finish_variant", "rpc/close_purchase", "rpc/finalize_order", "rpc/record_failure",
    "rpc/keep_audio", "rpc/kept_audio", "rpc/release_claim", "rpc/record_refund",
)  # fmt: skip

_SERVICES: dict[str, tuple[int, tuple[str, ...], Draw]] = {
    "rest": (34, _DATABASE_CALLS, _draw_database_fault),
    "storage": (14, ("",), _draw_storage_fault),
    "music": (30, ("",), _draw_music_fault),
    "events": (5, ("",), _draw_events_fault),
    "step": (5, ("",), _draw_step_fault),
    "answer": (7, _STEPS, _draw_answer_fault),
    "repeat": (5, _STEPS, _draw_repeat_fault),
}
