"""Every scenario by name, and the list that a person asks for."""

from __future__ import annotations

from devstack.demo.music_faults import AUTO_REFUND, PROVIDER_DOWN, REJECTED, THROTTLED
from devstack.demo.outages import DATABASE_AWAY, INNGEST_AWAY
from devstack.demo.payment_faults import DUPLICATES, REFUND, WEBHOOK_LOST
from devstack.demo.scenarios import Scenario

FAULTS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        REJECTED,
        THROTTLED,
        PROVIDER_DOWN,
        DUPLICATES,
        DATABASE_AWAY,
        INNGEST_AWAY,
        WEBHOOK_LOST,
        REFUND,
        AUTO_REFUND,
    )
}


def list_faults() -> str:
    lines = [f"  {name:14} {scenario.summary}" for name, scenario in FAULTS.items()]
    return "\n".join(["make demo FAULT=NAME, where NAME is one of", *lines])
