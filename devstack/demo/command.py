"""The command: choose a scenario, start the stack, play, report, and leave nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from devstack.demo.catalog import FAULTS, list_faults
from devstack.demo.display import Display, create_display
from devstack.demo.plain import PLAIN
from devstack.demo.progress import Line
from devstack.demo.report import report_dead_letters, report_order, report_parts
from devstack.demo.scenarios import Scenario
from devstack.demo.scene import OrderUnfinished, Scene
from devstack.demo.songs import SONGS
from devstack.real_services import RealServices
from devstack.shop import ProjectError
from devstack.stack import STACK_ERRORS, Stack
from devstack.stopping import hold_signals, signals_deferred

SECONDS_PER_SONG = 1.5
_SONG_SECONDS = 10.0


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.fault == "help":
        print(list_faults())
        return 0
    if arguments.fault is not None and arguments.fault not in FAULTS:
        print(f"there is no fault {arguments.fault!r}\n{list_faults()}", file=sys.stderr)
        return 2
    scenario = FAULTS.get(arguments.fault, PLAIN)
    began = time.monotonic()
    display = create_display()
    try:
        succeeded = _perform(scenario, arguments, display)
    except (*STACK_ERRORS, ProjectError, OrderUnfinished) as error:
        print(error, file=sys.stderr)
        succeeded = False
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
    parser.add_argument(
        "--songs", type=Path, default=SONGS, metavar="FOLDER", help="where the songs are kept"
    )
    return parser


def _perform(scenario: Scenario, arguments: argparse.Namespace, display: Display) -> bool:
    """Plays it on a stack of its own; whether everything was seen that should be."""
    # A fault is committed by our own parts: a real service cannot be told to fail.
    services = RealServices.from_environ() if scenario is PLAIN else RealServices()
    options = replace(
        scenario.options, compose_seconds=arguments.seconds_per_song, song_seconds=_SONG_SECONDS
    )
    display.say(scenario.done)
    for service in services.named():
        display.say(f"With the real {service}.")
    with _temporary_folder() as folder:
        began = time.monotonic()
        with Stack(folder, options, services=services) as stack:
            display.tell(Line(f"everything is up after {_since(began)}", "done"))
            return _play(scenario, Scene(stack, display, arguments.songs))


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Gone at the end, whenever a signal comes."""
    folder = None
    try:
        with signals_deferred():
            folder = Path(tempfile.mkdtemp(prefix="songswipe-demo-"))
        yield folder
    finally:
        hold_signals()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _play(scenario: Scenario, scene: Scene) -> bool:
    try:
        seen = scenario.play(scene)
    except BaseException:
        scene.stack.app.kill()  # its songs in flight would hold up the end
        raise
    finally:
        hold_signals()
    _report(scene, seen)
    return all(line.mark == "done" for line in seen)


def _report(scene: Scene, seen: list[Line]) -> None:
    if scene.order is not None:
        report_order(scene, scene.order)
        report_dead_letters(scene, scene.order)
    scene.display.say("\nWhat was seen:")
    for line in seen:
        scene.display.tell(line)
    report_parts(scene)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
