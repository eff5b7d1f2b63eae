"""``python -m devstack dev``: the stack, standing, for the day's work."""

from devstack.dev.command import main

__all__ = ["main"]
