"""``flask --app wsgi orders reconcile``, as the operator types it."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from money_world import MoneyWorld
from world import on

from devstack.child import quiet_port
from devstack.faults import always
from devstack.payments.charges import refund
from devstack.payments.errors import RATE_LIMITED
from songswipe.cli import create_commands


def test_it_takes_in_what_is_missing_and_then_nothing(world: MoneyWorld) -> None:
    world.stripe.page_limit = 2
    sessions = [world.in_stripe() for _ in range(3)]
    refunded = world.buy_in_stripe()
    world.stripe.add_refund(refund(refunded.session["payment_intent"], 799))
    first = world.command("reconcile", "--since", "72h")
    world.rest()
    second = world.command("reconcile")

    assert (first.status, second.status) == (0, 0)
    ids = [str(order["id"]) for order in map(world.order_of, sessions) if order]
    told = [line.split() for line in first.lines[:-1]]
    assert sorted(told) == sorted(
        [
            *(
                ["session", session["id"], "created", order_id]
                for session, order_id in zip(sessions, ids, strict=True)
            ),
            ["refund", refunded.session["payment_intent"], "updated", refunded.order_id],
        ]
    )
    assert first.lines[-1] == "5 listed by Stripe, 4 taken in."
    assert second.lines == ["5 listed by Stripe, 0 taken in."]
    assert {world.status_of(session) for session in sessions} == {"completed"}
    assert world.provider.songs_made == 12


def test_a_dry_run_prints_and_writes_nothing(world: MoneyWorld) -> None:
    session = world.in_stripe()
    before = world.state()
    printed = world.command("reconcile", "--dry-run")

    assert [line.split() for line in printed.lines[:-1]] == [
        ["session", session["id"], "found", "-"]
    ]
    assert printed.lines[-1] == "1 listed by Stripe, 1 not known here."
    assert (printed.status, world.state()) == (0, before)


def test_a_rate_limit_that_lasts_is_said(world: MoneyWorld) -> None:
    world.faults.add(always(RATE_LIMITED, on("stripe")))
    printed = world.command("reconcile")

    assert (printed.status, printed.lines) == (1, [])
    assert printed.errors == "Error: Stripe limits our rate; try again later"


def test_what_a_restricted_key_may_not_see_is_said(world: MoneyWorld) -> None:
    world.in_stripe()
    world.stripe.restricted |= {"rak_charge_read", "rak_dispute_read"}
    printed = world.command("reconcile", "--dry-run")

    assert (printed.status, printed.lines[-1]) == (0, "1 listed by Stripe, 1 not known here.")
    lacks = "not looked at: STRIPE_SECRET_KEY lacks a permission: give it"
    assert printed.errors.splitlines() == [
        f"{lacks} Charges and Refunds: read",
        f"{lacks} Disputes: read",
    ]


def test_a_key_that_may_not_see_sessions_is_told_what_it_needs(world: MoneyWorld) -> None:
    world.stripe.restricted.add("rak_checkout_session_read")
    printed = world.command("reconcile")

    assert printed.status == 1
    assert printed.errors == (
        "Error: STRIPE_SECRET_KEY lacks a permission: give it Checkout Sessions: read"
    )


def test_a_wrong_key_is_said_and_not_shown(world: MoneyWorld) -> None:
    printed = world.command("reconcile", STRIPE_SECRET_KEY="sk_test_of_another_account")

    assert printed.status == 1
    assert printed.errors == "Error: Stripe does not accept STRIPE_SECRET_KEY"


def test_that_stripe_is_away_is_said(world: MoneyWorld) -> None:
    printed = world.command("reconcile", STRIPE_API_BASE=f"http://127.0.0.1:{quiet_port()}")

    assert printed.status == 1
    assert printed.errors == "Error: Stripe did not answer: APIConnectionError"


def test_that_the_database_is_away_is_said(world: MoneyWorld) -> None:
    world.in_stripe()
    printed = world.command("reconcile", SUPABASE_URL=f"http://127.0.0.1:{quiet_port()}")

    assert printed.status == 1
    assert printed.errors == "Error: store_unavailable: ConnectError"


def test_a_missing_key_is_named_before_anything_starts(world: MoneyWorld) -> None:
    printed = world.command("reconcile", STRIPE_SECRET_KEY="")

    assert printed.status == 1
    assert "STRIPE_SECRET_KEY is missing." in printed.errors
    assert "Traceback" not in printed.errors


def test_a_time_that_is_none_is_a_wrong_use(world: MoneyWorld) -> None:
    printed = world.command("reconcile", "--since", "yesterday")

    assert printed.status == 2
    assert "'yesterday' is not a time such as 90m, 72h or 7d" in printed.errors


@pytest.mark.parametrize(
    "since", ["", "0h", "72", "h", "-1h", "1.5h", "7 d", "7w", "9999999h", "3651d"]
)
def test_only_a_number_and_a_unit_are_a_time(since: str) -> None:
    commands: click.Group = create_commands(None, None)  # type: ignore[arg-type]
    result = CliRunner().invoke(commands, ["reconcile", "--since", since])

    assert result.exit_code == 2
    assert "Invalid value for '--since'" in result.output
