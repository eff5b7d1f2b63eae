"""Stripe's API: what was paid and paid back, and paying back. The only module that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import stripe

from songswipe.errors import PaymentsRefusedError, PaymentsUnavailableError

_TIMEOUT_SECONDS = 20
# The library's own: on connection errors, 409, 429 where Stripe says so, and 5xx; with backoff.
_RETRIES = 3
_PAGE = 100

_ADVICE = {
    "sessions": "Checkout Sessions: read",
    "refunds": "Charges and Refunds: read",
    "disputes": "Disputes: read",
    "refund": "Charges and Refunds: write",
}


class Payments:
    """``api_base`` points it elsewhere, for tests and the embedded stack."""

    def __init__(self, secret_key: str, api_base: str) -> None:
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base},
            max_network_retries=_RETRIES,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_SECONDS),
        )

    def completed_sessions(self, since: datetime) -> Iterator[dict[str, Any]]:
        """Every Checkout Session completed among those created since then, newest first."""
        return self._pages("sessions", self._client.v1.checkout.sessions.list, {
            "created": {"gte": int(since.timestamp())}, "status": "complete", "limit": _PAGE,
        })  # fmt: skip

    def refunds(self, since: datetime) -> Iterator[dict[str, Any]]:
        return self._pages("refunds", self._client.v1.refunds.list, {
            "created": {"gte": int(since.timestamp())}, "limit": _PAGE,
        })  # fmt: skip

    def disputes(self, since: datetime) -> Iterator[dict[str, Any]]:
        return self._pages("disputes", self._client.v1.disputes.list, {
            "created": {"gte": int(since.timestamp())}, "limit": _PAGE,
        })  # fmt: skip

    def refund(self, payment_intent: str, order_id: str) -> str:
        """Pays all of it back; the refund's id. The same order is never paid back twice.

        A payment that was paid back already, by a person say, counts as done.
        """
        with _our_errors("refund"):
            try:
                refund = self._client.v1.refunds.create(
                    {"payment_intent": payment_intent, "metadata": {"orderId": order_id}},
                    {"idempotency_key": f"songswipe-refund-{order_id}"},
                )
            except stripe.InvalidRequestError as error:
                if error.code != "charge_already_refunded":
                    raise
                return "already_refunded"
        return refund.id

    def _pages(
        self, what: str, call: Callable[[Any], Any], params: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        with _our_errors(what):
            for item in call(params).auto_paging_iter():
                yield item.to_dict(for_json=True)


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
