"""How Stripe's API says no: one exception with its answer, and faults ready to be scripted."""

from __future__ import annotations

import json

from devstack.faults import Fault
from devstack.payments.objects import Json

JSON_TYPE = {"Content-Type": "application/json"}
ACCOUNT = "acct_standin"


class StripeRefusal(Exception):
    """A request that Stripe would answer with an error. ``executed``: after the request was
    found valid, so that an idempotency key keeps this answer too."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = "invalid_request_error",
        executed: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        fields = {"code": code, "message": message, "param": param, "type": type}
        self.body: Json = {"error": {k: v for k, v in fields.items() if v is not None}}


def no_key() -> StripeRefusal:
    return StripeRefusal(
        401,
        "You did not provide an API key. You need to provide your API key in the Authorization "
        "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
    )


def wrong_key(key: str) -> StripeRefusal:
    return StripeRefusal(401, f"Invalid API Key provided: {_masked(key)}")


def lacks_permission(key: str, permission: str) -> StripeRefusal:
    """What a restricted key is told; Stripe names the missing permission in the message alone."""
    return StripeRefusal(
        403,
        f"The provided key '{_masked(key)}' does not have the required permissions for this "
        f"endpoint on account '{ACCOUNT}'. Having the '{permission}' permission would allow this "
        "request to continue.",
        code="more_permissions_required",
    )


def unknown_url(path: str) -> StripeRefusal:
    return StripeRefusal(404, f"Unrecognized request URL ({path}) for the Stripe stand-in.")


def missing(kind: str, id: str, param: str, status: int = 404) -> StripeRefusal:
    """404 for an id in the URL, 400 for one in a parameter."""
    return StripeRefusal(status, f"No such {kind}: '{id}'", code="resource_missing", param=param)


def invalid(param: str, message: str, code: str | None = None) -> StripeRefusal:
    return StripeRefusal(400, message, code=code, param=param)


def other_parameters(key: str) -> StripeRefusal:
    """An idempotency key that came before, with something else."""
    return StripeRefusal(
        400,
        "Keys for idempotent requests can only be used with the same parameters they were first "
        f"used with. Try using a key other than '{key}' if you meant to execute a different "
        "request.",
        type="idempotency_error",
    )


def _masked(key: str) -> str:
    return f"{key[:8]}****{key[-4:]}" if len(key) > 12 else "****"


def _fault(status: int, error: Json, headers: dict[str, str] | None = None) -> Fault:
    body = json.dumps({"error": error}).encode()
    return Fault(status=status, headers={**JSON_TYPE, **(headers or {})}, body=body)


RATE_LIMITED = _fault(
    429,
    {
        "code": "rate_limit",
        "message": "Request rate limit exceeded. You can learn more about rate limits here "
        "https://docs.stripe.com/rate-limits.",
        "type": "invalid_request_error",
    },
    {"Stripe-Rate-Limited-Reason": "global-rate"},
)
"""Stripe documents no Retry-After for it."""
API_ERROR = _fault(500, {"message": "An unknown error occurred.", "type": "api_error"})
