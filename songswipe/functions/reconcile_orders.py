"""``reconcile-orders``: the sweep as an Inngest cron function."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import inngest

from songswipe.functions.engine_errors import for_engine
from songswipe.sweep import Sweep

_RETRIES = 1  # the next sweep is minutes away
_IDS_SHOWN = 50


@dataclass(frozen=True)
class ReconcileOrders:
    sweep: Sweep

    def register(self, client: inngest.Inngest, cron: str) -> inngest.Function[Any]:
        return client.create_function(
            fn_id="reconcile-orders",
            name="Reconcile Orders",
            retries=_RETRIES,
            trigger=inngest.TriggerCron(cron=cron),
            concurrency=[inngest.Concurrency(limit=1)],
        )(self.run)

    def run(self, ctx: inngest.ContextSync) -> dict[str, Any]:
        return ctx.step.run("sweep", for_engine(self.heal, ctx.attempt))

    def heal(self) -> dict[str, Any]:
        """What was found and done: counts of all, ids of the first."""
        healings = self.sweep.run()
        return {
            "found": dict(Counter(healing.finding for healing in healings)),
            "done": [
                {"orderId": h.order_id, "finding": h.finding, "done": h.done}
                for h in healings[:_IDS_SHOWN]
            ],
        }
