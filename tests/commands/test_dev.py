"""``python -m devstack dev`` and ``order``."""

from __future__ import annotations

import signal
import socket

from run_commands import Commands, read_until

from devstack.dev.command import app_variables
from devstack.serving import HOST, free_port


def ports() -> list[str]:
    names = ("--app-port", "--supabase-port", "--database-port", "--inngest-port")
    return [part for name in names for part in (name, str(free_port()))]


def test_a_standing_stack_takes_orders_and_ends_with_ctrl_c(commands: Commands) -> None:
    data = commands.temporary / "data"
    process = commands.start("dev", "--data", data, "--seconds-per-song", "0.1", *ports())
    welcome = read_until(process, "Ctrl-C stops")
    status, output = commands.run("order", "--data", data)
    refused = commands.run("dev", "--data", data)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert "whsec_" in welcome
    assert status == 0, output
    assert output.count(".mp3") == 3
    assert refused == (1, f"A stack stands in {data} already.\n")
    assert process.returncode == 0
    assert commands.leftovers() == [str(data)]
    assert not (data / "standing.json").exists()


def test_a_taken_port_is_named_with_the_option_that_changes_it(commands: Commands) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("--data", commands.folder / "data", "--inngest-port", str(port))
        free = [str(free_port()) for _ in range(3)]
        others = ("--app-port", free[0], "--supabase-port", free[1], "--database-port", free[2])
        status, output = commands.run("dev", *arguments, *others)

    assert status == 1
    assert output.count("\n") == 1
    assert f"Port {port}, wanted for Inngest, is in use" in output
    assert "--inngest-port" in output


def test_an_order_without_a_standing_stack_says_how_to_start_one(commands: Commands) -> None:
    status, output = commands.run("order", "--data", commands.folder / "nothing")

    assert status == 1
    assert "make dev" in output


def test_the_app_takes_its_other_variables_from_the_environment() -> None:
    """A webhook secret of one's own holds beside the stack's."""
    environ = {"LOG_LEVEL": "DEBUG", "STRIPE_WEBHOOK_SECRET": "whsec_cli", "SUPABASE_URL": "x"}
    given = app_variables(environ)

    assert given == {
        "LOG_LEVEL": "DEBUG",
        "STRIPE_WEBHOOK_SECRET": "whsec_embedded_stack,whsec_cli",
    }
