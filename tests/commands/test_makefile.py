"""The commands exist, and say so."""

from __future__ import annotations

import re
import subprocess

from run_commands import PROJECT, Commands

VERBS = {"bench", "help", "demo", "dev", "test", "lint", "check", "chaos", "docs", "setup", "clean"}


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


def test_make_alone_lists_every_verb() -> None:
    listed = {line.split()[1] for line in make().splitlines()}

    assert listed == VERBS


def test_the_fault_reaches_the_demo() -> None:
    assert "devstack demo --fault 'throttled'" in make("-n", "demo", "FAULT=throttled")


def test_chaos_gets_its_numbers() -> None:
    assert "devstack chaos --schedules 7 --seed 9" in make("-n", "chaos", "N=7", "SEED=9")


def test_the_module_lists_its_commands(commands: Commands) -> None:
    status, output = commands.run()

    assert status == 0
    assert re.findall(r"^  (\w+) ", output, re.M) == ["demo", "dev", "order", "docs", "chaos"]


def test_an_unknown_command_is_answered_with_the_list(commands: Commands) -> None:
    status, output = commands.run("nonsense")

    assert status == 2
    assert "demo" in output
