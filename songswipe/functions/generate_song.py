"""``generate-song``: from a paid order to three songs, in five checkpoints.

The ids, the order of the steps and the number of retries are a contract with the shop's Inngest
app; renaming a step loses the memory of runs in flight.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import inngest

from songswipe.errors import (
    NoSongError,
    PermanentError,
    TransientError,
    VariantsUnfinishedError,
)
from songswipe.functions.dead_letters import DeadLetter, mapping
from songswipe.functions.engine_errors import (
    RETRIES,
    for_engine,
    is_last,
)
from songswipe.models import (
    EVENT_GENERATION_REQUESTED,
    EVENT_ORDER_REFUNDED,
    GenerationRequest,
    VariantResult,
)
from songswipe.patience import Patience
from songswipe.refunds import AutoRefund
from songswipe.store import Store
from songswipe.variants import Attempt, VariantMaker

log = logging.getLogger(__name__)

_FIRST_LOOK_SECONDS = 30.0

Report = dict[str, Any]
"""What ``generate-and-upload-variants`` leaves in the run's state: numbers, states and codes."""


@dataclass(frozen=True)
class GenerateSong:
    """The function's step bodies and what they work with."""

    store: Store
    maker: VariantMaker
    patience: Patience
    auto_refund: AutoRefund | None = None

    def register(self, client: inngest.Inngest, concurrency: int) -> inngest.Function[Any]:
        """``concurrency`` limits how many orders generate at once; 0 leaves it to the plan."""
        return client.create_function(
            fn_id="generate-song",
            name="Generate Song Variants",
            retries=RETRIES,
            trigger=inngest.TriggerEvent(event=EVENT_GENERATION_REQUESTED),
            on_failure=self.on_failure,
            cancel=[
                inngest.Cancel(
                    event=EVENT_ORDER_REFUNDED,
                    if_exp="async.data.orderId == event.data.orderId",
                )
            ],
            concurrency=[inngest.Concurrency(limit=concurrency)] if concurrency else None,
        )(self.run)

    def run(self, ctx: inngest.ContextSync) -> dict[str, Any]:
        """The order's story. Only ids, states and numbers pass through the engine."""
        request = for_engine(GenerationRequest.from_event_data, ctx.attempt)(
            mapping(ctx.event.data)
        )

        def step(step_id: str, body: Any, *args: Any) -> Any:
            return ctx.step.run(step_id, for_engine(body, ctx.attempt), *args)

        step("fetch-customization", self.fetch_customization, request)
        decision = step("update-order-generating", self.store.begin_generation, request)
        if decision != "generate":
            log.info("order %s: nothing to generate (%s)", request.order_id, decision)
            return {"orderId": request.order_id, "status": decision}
        step("create-variant-records", self.store.insert_variants, request)
        attempt = Attempt(ctx.run_id, ctx.attempt, is_last(ctx.attempt))
        report = step("generate-and-upload-variants", self.generate, request, attempt)
        status = step("finalize-order", self.finalize, request, ctx.run_id, report)
        return {"orderId": request.order_id, "status": status, "variants": report["variants"]}

    def fetch_customization(self, request: GenerationRequest) -> dict[str, Any]:
        length = self.store.load_song_length_seconds(request)
        return {"customizationId": request.customization_id, "songLengthSeconds": length}

    def generate(self, request: GenerationRequest, attempt: Attempt) -> Report:
        """Raises VariantsUnfinishedError where another attempt may bring what is missing."""
        customization, ended, unfinished = self.store.load_generation(request)
        results = self.maker.make_all(request, customization, unfinished, attempt)
        waiting = [result for result in results if result.state in ("retry", "busy")]
        if waiting and not attempt.is_last:
            raise _unfinished(waiting, attempt)
        if any(
            result.state == "retry" and result.reason == "store_unavailable" for result in waiting
        ):
            raise _unfinished(waiting, attempt)
        results = ended + results
        return {
            "variants": {str(result.number): result.state for result in results},
            "reasons": {str(result.number): result.reason for result in results if result.reason},
            "retries": attempt.number,
        }

    def finalize(self, request: GenerationRequest, run_id: str, report: Report) -> str:
        """The order's state. Raises NoSongError once the dead letter of a run without a song is
        written: here, where five attempts are left for it, and not in the handler's only one.
        """
        status = self.store.finalize_order(request.order_id)
        if status != "no_song":
            log.info("order %s: %s", request.order_id, status)
            return status
        self._record(DeadLetter.without_song(request, run_id, report["reasons"], report["retries"]))
        raise NoSongError

    def on_failure(self, ctx: inngest.ContextSync) -> dict[str, Any]:
        """Writes the dead letter of a failed run, unless finalize-order has.

        The engine calls this once. If the database is away for longer than our patience the dead
        letter is not lost: the order has no end yet, so the sweep finds it.
        """
        letter = DeadLetter.of_failed_run(ctx.event.data)
        log.error("run %s of order %s failed: %s", letter.run_id, letter.order_id, letter.message)

        def record() -> str:
            return self.patience.insist(lambda: self._record(letter))

        status = for_engine(record, ctx.attempt)()
        if status == "failed" and letter.order_id is not None:
            status = self._refund(letter.order_id)
        return {"orderId": letter.order_id, "status": status}

    def _record(self, letter: DeadLetter) -> str:
        return self.store.record_failure(
            order_id=letter.order_id,
            run_id=letter.run_id,
            event_data=letter.event_data,
            message=letter.message,
            stack=letter.stack,
            retries=letter.retries,
        )

    def _refund(self, order_id: str) -> str:
        """Pays back at once where that is due. What does not succeed now is left to the sweep."""
        if self.auto_refund is None:
            return "failed"
        try:
            status = self.auto_refund.refund_if_due(order_id)
        except (TransientError, PermanentError) as error:
            log.warning("order %s not paid back yet: %s", order_id, error)
            return "failed"
        return "failed" if status == "not_due" else status


def _unfinished(waiting: list[VariantResult], attempt: Attempt) -> VariantsUnfinishedError:
    """Waits as long as the most patient answer asked for; else the engine's backoff holds."""
    asked = [seconds for result in waiting if (seconds := _wait_seconds(result, attempt))]
    reasons = ", ".join(f"{result.number}: {result.reason}" for result in waiting)
    return VariantsUnfinishedError(
        message=f"variants_unfinished: {reasons}",
        retry_after_seconds=max(asked) if asked else None,
    )


def _wait_seconds(result: VariantResult, attempt: Attempt) -> float | None:
    """A claim ends with its lease at the latest, and much earlier if its holder is alive. So we
    look again soon at first, and before the last attempt wait until it must have ended."""
    seconds = result.retry_after_seconds
    if result.state != "busy" or seconds is None or is_last(attempt.number + 1):
        return seconds
    look_after: float = _FIRST_LOOK_SECONDS * 2**attempt.number
    return min(seconds, look_after)
