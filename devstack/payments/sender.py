"""Delivers events to a webhook as Stripe does: signed, and again until a 2xx comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from devstack.payments.events import payload_of, signature_header
from devstack.payments.objects import Json

USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
RETRY_DELAYS_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0, 10800.0)
"""Stripe does not publish its table. This one grows as fast and ends after a few hours, as
redelivery to a sandbox does."""


class Attempt(NamedTuple):
    """One try: the status, or None without an answer, and the body or what went wrong."""

    status: int | None
    body: str
    seconds: float

    @property
    def accepted(self) -> bool:
        """Stripe counts everything but 2xx as failed, redirects included."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class Delivery:
    event_id: str
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].accepted


class StripeSender:
    """``time_scale`` multiplies the waits between tries: 0.001 plays three hours in ten seconds.

    With several secrets every delivery is signed by each, as while one is being rolled.
    ``webhook_url`` may be changed between tries, when the app moved. Call ``close`` at the end; a
    session that was passed in stays open.
    """

    def __init__(
        self,
        *,
        webhook_url: str,
        secret: str | Sequence[str],
        retry_delays_seconds: Sequence[float] = RETRY_DELAYS_SECONDS,
        time_scale: float = 1.0,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.webhook_url = webhook_url
        self.secret = secret
        self.retry_delays_seconds = tuple(retry_delays_seconds)
        self.time_scale = time_scale
        self._session = session
        self._owns_session = session is None

    async def deliver(self, event: Json) -> Delivery:
        """Try until a 2xx, or until the delays run out. Never raises for what the webhook did."""
        delivery = Delivery(event["id"])
        delivery.attempts.append(await self.deliver_once(event))
        for delay_seconds in self.retry_delays_seconds:
            if delivery.delivered:
                break
            await asyncio.sleep(delay_seconds * self.time_scale)
            delivery.attempts.append(await self.deliver_once(event))
        return delivery

    async def deliver_once(self, event: Json, *, timeout_seconds: float = 20) -> Attempt:
        """One try, freshly signed."""
        payload = payload_of(event)
        began = time.monotonic()
        try:
            async with self._open_session().post(
                self.webhook_url,
                data=payload,
                headers=self._headers(payload),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                body = await response.text(errors="replace")
                return Attempt(response.status, body, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            return Attempt(None, reason, time.monotonic() - began)

    async def close(self) -> None:
        if self._session is not None and self._owns_session:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit on connections: Stripe would not queue either.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    def _headers(self, payload: bytes) -> dict[str, str]:
        return {
            "Accept": "*/*; q=0.5, application/xml",
            "Cache-Control": "no-cache",
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(payload, self.secret),
            "User-Agent": USER_AGENT,
        }
