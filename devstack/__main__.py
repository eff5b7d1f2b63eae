"""``python -m devstack``: the commands over the embedded stack.

Signals are taken over before anything is imported, so that a Ctrl-C in the first second is as
orderly as a later one.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from devstack.stopping import Stopped, stop_on_signals


class Command(NamedTuple):
    module: str
    summary: str


COMMANDS = {
    "demo": Command("devstack.demo", "a paid order becomes three songs; --fault NAME breaks it"),
    "dev": Command("devstack.dev", "the stack, standing, on the usual ports"),
    "order": Command("devstack.dev.order", "place a paid order at the standing stack"),
    "docs": Command("devstack.configuration_docs", "write the documented configuration"),
    "chaos": Command("devstack.chaos", "random faults, invariants checked"),
}


def usage() -> str:
    lines = [f"  {name:6} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python -m devstack COMMAND [--help | options]", "", *lines])


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] not in COMMANDS:
        print(f"there is no command {argv[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        with stop_on_signals():
            command: Callable[[list[str]], int] = importlib.import_module(
                COMMANDS[argv[0]].module
            ).main
            return command(argv[1:])
    except Stopped as stopped:
        print("Stopped.", file=sys.stderr)
        return stopped.exit_status
    except BrokenPipeError:
        # Whoever read our output has gone; without this, Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
