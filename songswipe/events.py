"""Sending events to Inngest, within a time that the caller sets."""

from __future__ import annotations

import logging

import inngest

from songswipe.errors import HandoverError
from songswipe.models import EVENT_GENERATION_REQUESTED, EVENT_ORDER_REFUNDED, GenerationRequest
from songswipe.patience import BoundedCaller, DeadlineExceededError
from songswipe.settings import Settings

log = logging.getLogger(__name__)

APP_ID = "songswipe"

# The SDK tries an event five times with pauses of its own; a try that is not answered in this time
# is given up, so that a thread which nobody waits for any more comes back.
_SEND_TRY_TIMEOUT_MS = 2000
_SEND_THREADS = 16


def create_client(settings: Settings) -> inngest.Inngest:
    """The SDK reads the addresses, the branch and the fallback key from the environment itself."""
    return inngest.Inngest(
        app_id=APP_ID,
        event_key=settings.inngest_event_key or None,
        signing_key=settings.inngest_signing_key or None,
        is_production=not settings.inngest_is_dev,
        logger=logging.getLogger("songswipe.inngest"),
        request_timeout=_SEND_TRY_TIMEOUT_MS,
    )


class EventSender:
    def __init__(self, client: inngest.Inngest) -> None:
        self._client = client
        self._caller = BoundedCaller("send-event", _SEND_THREADS)

    def request_generation(
        self, request: GenerationRequest, timeout_seconds: float, redrive: int = 0
    ) -> None:
        """Hands an order over. Safe to repeat: the event's id is the order's.

        Raises HandoverError if Inngest has not taken it in time (it may still).
        """
        self._send(
            inngest.Event(
                name=EVENT_GENERATION_REQUESTED,
                data=dict(request.event_data()),
                id=request.event_id(redrive),
            ),
            timeout_seconds,
        )

    def cancel_generation(self, order_id: str, timeout_seconds: float) -> None:
        """Ends the order's run, if there is one. Raises HandoverError as above."""
        self._send(
            inngest.Event(
                name=EVENT_ORDER_REFUNDED,
                data={"orderId": order_id},
                id=f"order-refunded-{order_id}",
            ),
            timeout_seconds,
        )

    def _send(self, event: inngest.Event, timeout_seconds: float) -> None:
        if timeout_seconds <= 0:
            raise HandoverError("no_time_left")
        try:
            self._caller.call(lambda: self._client.send_sync(event), timeout_seconds)
        except DeadlineExceededError:
            raise HandoverError("inngest_too_slow") from None
        except Exception as error:  # noqa: BLE001 - the SDK raises plain Exception and ValueError
            raise HandoverError(message=f"inngest_unavailable: {type(error).__name__}") from None
