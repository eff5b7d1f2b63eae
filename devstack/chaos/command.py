"""``python -m devstack chaos``: waves of schedules, and what is said about them."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devstack.chaos.check import Evidence, Violation, violations
from devstack.chaos.order import Order
from devstack.chaos.play import OPTIONS, Player
from devstack.chaos.sabotage import SABOTAGES, sabotage
from devstack.stack import Stack

_WAVE = 1000
_VIOLATIONS_SHOWN = 10
_TIMELINES_SHOWN = 2


@dataclass
class Tally:
    """What a whole campaign came to."""

    schedules: int = 0
    states: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    composed: int = 0
    violations: list[Violation] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack chaos", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, printed")
    parser.add_argument("--without", choices=SABOTAGES, help="switch a protection off")
    arguments = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    numbers = range(arguments.first, arguments.first + arguments.schedules)
    print(f"{len(numbers)} schedules, seed {seed}", flush=True)
    tally = campaign(numbers, seed, without=arguments.without)
    _report(tally, seed)
    return 1 if tally.violations else 0


def campaign(numbers: range, seed: int, *, without: str | None = None) -> Tally:
    """Plays the schedules in waves; stops after the first wave that broke an invariant."""
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix="songswipe-chaos-") as folder,
        Stack(Path(folder), OPTIONS) as stack,
    ):
        if without is not None:
            sabotage(stack.shop, without)
        player = Player(stack, seed)
        for start in range(numbers.start, numbers.stop, _WAVE):
            began = time.monotonic()
            play_wave(stack, player, range(start, min(start + _WAVE, numbers.stop)), tally)
            print(
                f"  {tally.schedules} played, {len(tally.violations)} violations, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            if tally.violations:
                break
            player.forget()
    return tally


def play_wave(stack: Stack, player: Player, numbers: range, tally: Tally) -> None:
    """Plays them, adds what came of it to the tally, and tells of the first violations."""
    log_began = stack.app.log.stat().st_size
    wave = player.play(numbers)
    evidence = Evidence.collect(stack.shop, stack.folder / "objects")
    with stack.app.log.open(errors="replace") as log:
        log.seek(log_began)
        tally.violations += violations(wave, evidence, log.read())
    tally.schedules += len(numbers)
    tally.composed += sum(wave.songs_composed.values())
    for rows in evidence.orders.values():
        tally.states.update(row["status"] for row in rows)
    for rows in evidence.purchases.values():
        tally.outcomes.update(str(row["outcome"]) for row in rows)
    if tally.violations:
        _tell(tally.violations, wave.world)


def _tell(found: list[Violation], world: list[tuple[float, str]]) -> None:
    for violation in found[:_VIOLATIONS_SHOWN]:
        number = "" if violation.order is None else f" schedule {violation.order.schedule.number}"
        print(f"VIOLATION {violation.rule}{number}: {violation.what}")
    orders = {
        violation.order.schedule.number: violation.order
        for violation in found
        if violation.order is not None
    }
    for order in list(orders.values())[:_TIMELINES_SHOWN]:
        _tell_timeline(order, world)


def _tell_timeline(order: Order, world: list[tuple[float, str]]) -> None:
    print(f"\nschedule {order.schedule.number}: {order.schedule.kind}, order {order.order_id}")
    for planned in order.schedule.faults:
        calls = f"{planned.first} to {planned.last}"
        print(f"  planned: {planned.service} {planned.detail} calls {calls}: {planned.label}")
    world_lines = [(seconds, f"*** {text}") for seconds, text in world]
    for seconds, text in sorted(order.timeline + world_lines):
        print(f"  {seconds:8.3f}  {text}")


def _report(tally: Tally, seed: int) -> None:
    orders = ", ".join(f"{number} {state}" for state, number in tally.states.most_common())
    calls = ", ".join(f"{number} {outcome}" for outcome, number in tally.outcomes.most_common())
    print(f"orders: {orders}")
    print(f"purchases: {calls}; songs made: {tally.composed}")
    verdict = f"{len(tally.violations)} VIOLATIONS" if tally.violations else "no invariant broken"
    print(f"{tally.schedules} schedules, seed {seed}: {verdict}")
