"""The command: choose a scenario, start the stack, play, report, and leave nothing behind."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from devstack.demo.catalog import FAULTS, list_faults
from devstack.demo.display import Display, create_display
from devstack.demo.plain import PLAIN
from devstack.demo.progress import Line
from devstack.demo.report import report_dead_letters, report_orders, report_parts
from devstack.demo.scenarios import Scenario
from devstack.demo.scene import OrderUnfinished, Scene
from devstack.stack import Options, Stack
from devstack.stopping import hold_signals

SECONDS_PER_SONG = 1.5
_SONG_SECONDS = 10.0


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if options.fault == "help":
        print(list_faults())
        return 0
    if options.fault is not None and options.fault not in FAULTS:
        print(f"there is no fault {options.fault!r}\n{list_faults()}", file=sys.stderr)
        return 2
    scenario = FAULTS.get(options.fault, PLAIN)
    began = time.monotonic()
    display = create_display()
    succeeded = _perform(scenario, options.seconds_per_song, display)
    display.say(f"\n{'Done' if succeeded else 'FAILED'} after {_since(began)}.")
    return 0 if succeeded else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack demo", description="Watch a paid order become three songs."
    )
    parser.add_argument("--fault", metavar="NAME", help="what goes wrong; help lists the names")
    parser.add_argument(
        "--seconds-per-song",
        type=float,
        default=SECONDS_PER_SONG,
        metavar="S",
        help="how long the provider takes for a song (default %(default)s)",
    )
    return parser


def _perform(scenario: Scenario, seconds_per_song: float, display: Display) -> bool:
    display.say(scenario.done)
    folder = Path(tempfile.mkdtemp(prefix="songswipe-demo-"))
    try:
        began = time.monotonic()
        with Stack(folder, _options(scenario, seconds_per_song)) as stack:
            try:
                display.tell(Line(f"everything is up after {_since(began)}", "done"))
                return _play(scenario, Scene(stack, display))
            finally:
                hold_signals()
    finally:
        hold_signals()
        shutil.rmtree(folder, ignore_errors=True)


def _options(scenario: Scenario, seconds_per_song: float) -> Options:
    return replace(scenario.options, compose_seconds=seconds_per_song, song_seconds=_SONG_SECONDS)


def _play(scenario: Scenario, scene: Scene) -> bool:
    try:
        seen = scenario.play(scene)
    except OrderUnfinished as error:
        print(f"{error}. The app's last words:", file=sys.stderr)
        print("\n".join(scene.stack.app.log.read_text().splitlines()[-15:]), file=sys.stderr)
        return False
    report_orders(scene)
    report_dead_letters(scene)
    scene.display.say("\nWhat was seen:")
    for line in seen:
        scene.display.tell(line)
    report_parts(scene)
    return all(line.mark == "done" for line in seen)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
