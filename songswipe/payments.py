"""Stripe's API: what was paid and paid back, and paying back. The only module that calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import stripe

from songswipe.errors import PaymentsRefusedError, PaymentsUnavailableError

T = TypeVar("T")

_TIMEOUT_SECONDS = 20
# The library's own: on connection errors, 409 and 5xx, with backoff. It does not retry after a rate
# limit, unless Stripe's answer asks for it; those retries are ours.
_RETRIES = 3
_PAUSES_SECONDS = (0.5, 1.0, 2.0)
_PAGE = 100

_ADVICE = {
    "sessions": "Checkout Sessions: read",
    "refunds": "Charges and Refunds: read",
    "disputes": "Disputes: read",
    "refund": "Charges and Refunds: write",
}

_NOTHING_LEFT = {
    "charge_already_refunded": "already_refunded",
    "charge_disputed": "disputed",
}
"""Why Stripe refuses a refund that is not needed any more, and our word for it."""


class Payments:
    """``api_base`` points it elsewhere, for tests and the embedded stack."""

    def __init__(
        self, secret_key: str, api_base: str, pauses_seconds: Sequence[float] = _PAUSES_SECONDS
    ) -> None:
        self._pauses_seconds = pauses_seconds
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base},
            max_network_retries=_RETRIES,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_SECONDS),
        )

    def completed_sessions(self, since: datetime) -> Iterator[dict[str, Any]]:
        """Every Checkout Session completed among those created since then, newest first."""
        params = {"created": _from(since), "status": "complete"}
        return self._pages("sessions", self._client.v1.checkout.sessions.list, params)

    def find_session(self, session_id: str) -> dict[str, Any] | None:
        def retrieve() -> dict[str, Any] | None:
            try:
                session = self._client.v1.checkout.sessions.retrieve(session_id)
            except stripe.InvalidRequestError as error:
                if error.code != "resource_missing":
                    raise
                return None
            return session.to_dict(for_json=True)

        return self._call("sessions", retrieve)

    def refunds(self, since: datetime) -> Iterator[dict[str, Any]]:
        return self._pages("refunds", self._client.v1.refunds.list, {"created": _from(since)})

    def refunds_of(self, payment_intent: str) -> Iterator[dict[str, Any]]:
        params = {"payment_intent": payment_intent}
        return self._pages("refunds", self._client.v1.refunds.list, params)

    def disputes(self, since: datetime) -> Iterator[dict[str, Any]]:
        return self._pages("disputes", self._client.v1.disputes.list, {"created": _from(since)})

    def refund(self, payment_intent: str, order_id: str) -> str:
        """Pays all of it back; the refund's id. The same order is never paid back twice.

        A payment that was paid back already, by a person say, or that the bank has taken back,
        counts as done.
        """

        def create() -> str:
            try:
                return self._client.v1.refunds.create(
                    {"payment_intent": payment_intent, "metadata": {"orderId": order_id}},
                    {"idempotency_key": f"songswipe-refund-{order_id}"},
                ).id
            except stripe.InvalidRequestError as error:
                if error.code not in _NOTHING_LEFT:
                    raise
                return _NOTHING_LEFT[error.code]

        return self._call("refund", create)

    def _pages(
        self, what: str, call: Callable[[Any], Any], params: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        cursor: dict[str, str] = {}
        while True:
            asked = params | {"limit": _PAGE} | cursor
            page = self._call(what, lambda asked=asked: call(asked))  # type: ignore[misc]
            for item in page.data:
                yield item.to_dict(for_json=True)
            if not page.has_more:
                return
            cursor = {"starting_after": page.data[-1].id}

    def _call(self, what: str, call: Callable[[], T]) -> T:
        """Raises a PaymentsError, once the pauses for a rate limit are used up."""
        with _our_errors(what):
            for pause in self._pauses_seconds:
                try:
                    return call()
                except stripe.RateLimitError:
                    time.sleep(pause)
            return call()


def _from(since: datetime) -> dict[str, int]:
    return {"gte": int(since.timestamp())}


@contextmanager
def _our_errors(what: str) -> Iterator[None]:
    try:
        yield
    except stripe.AuthenticationError:
        raise PaymentsRefusedError(message="Stripe does not accept STRIPE_SECRET_KEY") from None
    except stripe.PermissionError:
        raise PaymentsRefusedError(
            message=f"STRIPE_SECRET_KEY lacks a permission: give it {_ADVICE[what]}"
        ) from None
    except stripe.RateLimitError:
        raise PaymentsUnavailableError(message="Stripe limits our rate; try again later") from None
    except stripe.InvalidRequestError as error:
        raise PaymentsRefusedError(message=f"Stripe refused: {error.code or what}") from None
    except stripe.StripeError as error:
        raise PaymentsUnavailableError(
            message=f"Stripe did not answer: {type(error).__name__}"
        ) from None
