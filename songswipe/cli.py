"""``flask --app wsgi orders …``: what the operator does by hand."""

from __future__ import annotations

import re
from datetime import timedelta

import click
from flask.cli import AppGroup

from songswipe.errors import SongSwipeError
from songswipe.reconcile import Reconciliation
from songswipe.sweep import Sweep


def create_commands(sweep: Sweep, reconciliation: Reconciliation) -> AppGroup:
    orders = AppGroup("orders", help="Look after orders.")

    @orders.command("sweep")
    @click.option("--dry-run", is_flag=True, help="Only say what would be healed.")
    def sweep_orders(dry_run: bool) -> None:
        """Find orders that are not where they should be, and heal them."""
        try:
            healings = sweep.run(dry_run=dry_run)
        except SongSwipeError as error:
            raise click.ClickException(str(error)) from None
        for healing in healings:
            click.echo(f"{healing.order_id}  {healing.finding:16}  {healing.done}")
        verb = "to heal" if dry_run else "looked at"
        click.echo(f"{len(healings)} order{'s' if len(healings) != 1 else ''} {verb}.")

    @orders.command("reconcile")
    @click.option("--since", default="72h", type=_AGE, show_default=True, help="90m, 72h or 7d.")
    @click.option("--dry-run", is_flag=True, help="Only say what Stripe knows and we do not.")
    def reconcile_payments(since: timedelta, dry_run: bool) -> None:
        """Ask Stripe what was paid, paid back or disputed, and take in what is not known here."""
        try:
            outcome = reconciliation.run(since, dry_run=dry_run)
        except SongSwipeError as error:
            raise click.ClickException(str(error)) from None
        for correction in outcome.corrections:
            order = correction.order_id or "-"
            line = f"{correction.what:8} {correction.stripe_id}  {correction.done:13} {order}"
            click.echo(line)
        for skipped in outcome.skipped:
            click.echo(f"not looked at: {skipped}", err=True)
        verb = "not known here" if dry_run else "taken in"
        click.echo(f"{outcome.seen} listed by Stripe, {len(outcome.corrections)} {verb}.")

    return orders


_LONGEST_AGE = timedelta(days=3650)


class _Age(click.ParamType[timedelta]):
    """A length of time: a whole number and m, h or d."""

    name = "age"

    def convert(self, value: object, param: object, ctx: object) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", str(value))
        if found is None:
            raise click.BadParameter(f"{value!r} is not a time such as 90m, 72h or 7d")
        unit = {"m": "minutes", "h": "hours", "d": "days"}[found[2]]
        age = timedelta(**{unit: int(found[1])})
        if age > _LONGEST_AGE:
            raise click.BadParameter(f"{value!r} is more than {_LONGEST_AGE.days} days")
        return age


_AGE = _Age()
