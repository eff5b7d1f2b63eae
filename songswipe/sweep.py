"""The sweep: finds orders that are not where they should be, and brings each one step further.

Every healing is safe to repeat and bounded: an order is started anew a few times, and then it
becomes a dead letter that a person sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from songswipe.audio import mp3_duration_ms
from songswipe.errors import HandoverError, PermanentError, TransientError
from songswipe.events import EventSender
from songswipe.models import Finding
from songswipe.refunds import AutoRefund
from songswipe.store import Store

log = logging.getLogger(__name__)

_SEND_TIMEOUT_SECONDS = 5.0
_HANDOVERS = ("not_handed_over", "stuck")


@dataclass(frozen=True)
class Healing:
    """One finding and what was done about it: a word, or ``left`` and why."""

    finding: str
    order_id: str
    done: str


@dataclass(frozen=True)
class Sweep:
    store: Store
    sender: EventSender
    grace_seconds: float
    deadline_seconds: float
    max_redrives: int
    auto_refund: AutoRefund | None
    new_token: Callable[[], str] = lambda: str(uuid4())

    def run(self, *, dry_run: bool = False) -> list[Healing]:
        """Heals what it finds, or only says what it would. An order that cannot be healed now
        does not keep the others from it.

        Raises StoreUnavailableError if not even the search succeeds.
        """
        healings = []
        inngest_is_away = False
        # Stripe comes last: it may keep us waiting, and a song that turns up saves the refund.
        for finding in sorted(self._find(), key=lambda finding: finding.kind == "refund_due"):
            if dry_run:
                done = "found"
            elif inngest_is_away and finding.kind in _HANDOVERS:
                done = "left: inngest_unavailable"
            else:
                try:
                    done = self._heal(finding)
                except HandoverError as error:
                    # Each further one would keep us waiting as long.
                    inngest_is_away = True
                    done = f"left: {error}"
                except (TransientError, PermanentError) as error:
                    done = f"left: {error}"
            healing = Healing(finding.kind, finding.request.order_id, done)
            log.info("sweep: order %s %s: %s", healing.order_id, healing.finding, healing.done)
            healings.append(healing)
        return healings

    def _find(self) -> list[Finding]:
        return self.store.find_unhealthy(
            grace_seconds=self.grace_seconds,
            deadline_seconds=self.deadline_seconds,
            max_redrives=self.max_redrives,
            auto_refund=self.auto_refund is not None,
        )

    def _heal(self, finding: Finding) -> str:
        heal = {
            "not_handed_over": self._hand_over,
            "stuck": self._redrive,
            "given_up": self._give_up,
            "no_dead_letter": self._write_dead_letter,
            "contradiction": self._settle,
            "audio_unclaimed": self._adopt,
            "refund_due": self._refund,
        }[finding.kind]
        return heal(finding)

    def _hand_over(self, finding: Finding) -> str:
        self.sender.request_generation(finding.request, _SEND_TIMEOUT_SECONDS)
        self.store.mark_handed_over(finding.request.order_id)
        return "handed_over"

    def _redrive(self, finding: Finding) -> str:
        """Counted once it is sent; a count that was not stored is sent again under the same id."""
        redrive = finding.redrives + 1
        self.sender.request_generation(finding.request, _SEND_TIMEOUT_SECONDS, redrive)
        self.store.mark_handed_over(finding.request.order_id, redrive)
        return f"started_anew_{redrive}"

    def _give_up(self, finding: Finding) -> str:
        message = f"no end after {finding.redrives} new starts"
        return "order_" + self._record_failure(finding, message, finding.redrives)

    def _write_dead_letter(self, finding: Finding) -> str:
        self._record_failure(finding, "the order had failed without a dead letter", 0)
        return "dead_letter_written"

    def _record_failure(self, finding: Finding, message: str, retries: int) -> str:
        return self.store.record_failure(
            order_id=finding.request.order_id,
            run_id=f"sweep-{finding.request.order_id}-{finding.redrives}",
            event_data=finding.request.event_data(),
            message=message,
            stack=None,
            retries=retries,
        )

    def _refund(self, finding: Finding) -> str:
        if self.auto_refund is None:
            return "left: AUTO_REFUND is off, and a refund was begun"
        return "order_" + self.auto_refund.refund_if_due(finding.request.order_id)

    def _settle(self, finding: Finding) -> str:
        return "order_" + self.store.settle_order(finding.request.order_id)

    def _adopt(self, finding: Finding) -> str:
        """A song that was bought and stored, and whose variant does not say so."""
        assert finding.variant_number is not None
        request, number = finding.request, finding.variant_number
        audio = self.store.download_audio(request.storage_path(number))
        try:
            duration_ms = mp3_duration_ms(audio)
        except ValueError:
            self.store.mark_unplayable(request.order_id, number)
            return "unplayable"
        self.store.finish_variant(
            request, number, self.new_token(), duration_ms=duration_ms, size_bytes=len(audio)
        )
        return "adopted, order_" + self.store.settle_order(request.order_id)
