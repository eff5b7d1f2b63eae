"""``flask --app wsgi orders …``: what the operator does by hand."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from songswipe.errors import SongSwipeError
from songswipe.sweep import Sweep


def create_commands(sweep: Sweep) -> AppGroup:
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

    return orders
