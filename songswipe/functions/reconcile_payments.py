"""``reconcile-payments``: the reconciliation with Stripe as an Inngest cron function."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import inngest

from songswipe.functions.engine_errors import for_engine
from songswipe.reconcile import Reconciliation

_RETRIES = 2
_IDS_SHOWN = 50

SINCE = timedelta(hours=72)
"""How far back a daily run looks: as long as Stripe itself retries; three runs see each event."""


@dataclass(frozen=True)
class ReconcilePayments:
    reconciliation: Reconciliation

    def register(self, client: inngest.Inngest, cron: str) -> inngest.Function[Any]:
        return client.create_function(
            fn_id="reconcile-payments",
            name="Reconcile Payments",
            retries=_RETRIES,
            trigger=inngest.TriggerCron(cron=cron),
            concurrency=[inngest.Concurrency(limit=1)],
        )(self.run)

    def run(self, ctx: inngest.ContextSync) -> dict[str, Any]:
        return ctx.step.run("reconcile", for_engine(self.reconcile, ctx.attempt))

    def reconcile(self) -> dict[str, Any]:
        """What was seen and taken in: counts of all, ids of the first."""
        outcome = self.reconciliation.run(SINCE)
        return {
            "seen": outcome.seen,
            "corrected": dict(Counter(correction.what for correction in outcome.corrections)),
            "corrections": [
                {"what": c.what, "stripeId": c.stripe_id, "orderId": c.order_id, "done": c.done}
                for c in outcome.corrections[:_IDS_SHOWN]
            ],
            "skipped": outcome.skipped,
        }
