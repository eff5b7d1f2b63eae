"""``python -m devstack demo``: one order, watched from the payment to the songs."""

from devstack.demo.command import main

__all__ = ["main"]
