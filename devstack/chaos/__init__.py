"""The fault kit: many orders at once through the real app, each under its own seeded faults.

``python -m devstack chaos --schedules 1000 --seed 7`` plays them, checks the invariants of the
design after every wave, and ends with 1 if one was broken. It prints the seed and the timeline of
the first order that broke one; the same seed draws the same schedules again.
"""

from devstack.chaos.command import main

__all__ = ["main"]
