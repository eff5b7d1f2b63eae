"""Ready-made faults of the music provider, with the bodies that were recorded from it.

Errors come in several forms, all under ``detail``: an object in the current form (``type``,
``code``, ``message``, ``status``), the older form (``status`` and ``message`` only) or a list.
"""

from __future__ import annotations

import json
from typing import Any

from devstack.faults import Fault

JSON_TYPE = {"Content-Type": "application/json"}
AUDIO_TYPE = {"Content-Type": "audio/mpeg"}
HTML_TYPE = {"Content-Type": "text/html; charset=utf-8"}


def answer(status: int, detail: Any, headers: dict[str, str] | None = None) -> Fault:
    """A fault that answers with ``{"detail": detail}``."""
    body = json.dumps({"detail": detail}).encode()
    return Fault(status=status, headers={**JSON_TYPE, **(headers or {})}, body=body)


def bad_prompt(suggestion: str | None = None) -> Fault:
    """400: the content was rejected. Harmful content comes without a suggestion."""
    detail: dict[str, Any] = {
        "status": "bad_prompt",
        "message": "Your prompt appears to have violated our Terms of Service. "
        "Please try again with a different prompt.",
    }
    if suggestion is not None:
        detail["data"] = {"prompt_suggestion": suggestion}
    return answer(400, detail)


THROTTLED_MESSAGES = {
    "concurrent_limit_exceeded": "Too many concurrent requests. Your current subscription is "
    "associated with a maximum of 2 concurrent requests (running in parallel).",
    "rate_limit_exceeded": "Too many requests in a short time. Please slow down.",
    "system_busy": "We are experiencing heavy traffic. Please try again.",
}
THROTTLED_STATUSES = {"concurrent_limit_exceeded": "too_many_concurrent_requests"}


def throttled(
    retry_after: float | str | None = None, *, code: str = "concurrent_limit_exceeded"
) -> Fault:
    """429. The real service sends no Retry-After as far as anybody recorded; ours can."""
    if code not in THROTTLED_MESSAGES:
        raise ValueError(f"{code} is none of {', '.join(THROTTLED_MESSAGES)}")
    detail = {
        "type": "rate_limit_error",
        "code": code,
        "message": THROTTLED_MESSAGES[code],
        "status": THROTTLED_STATUSES.get(code, code),
        "request_id": "0f5bb9b1",
        "docs_url": "https://elevenlabs.io/docs/eleven-api/resources/errors",
    }
    return answer(429, detail, None if retry_after is None else {"Retry-After": str(retry_after)})


def unavailable(status: int = 503, *, retry_after: float | str | None = None) -> Fault:
    """5xx from something in front of the service, which does not speak JSON."""
    headers = {"Content-Type": "text/plain"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Fault(status=status, headers=headers, body=b"upstream connect error")


BAD_PROMPT = bad_prompt()
INVALID_KEY = answer(401, {"status": "invalid_api_key", "message": "Invalid API key"})
QUOTA_EXCEEDED = answer(
    401,
    {
        "status": "quota_exceeded",
        "message": "This request exceeds your quota of 10000. You have 0 credits remaining, "
        "while 1500 credits are required for this request.",
    },
)
MISSING_PERMISSIONS = answer(
    401,
    {
        "type": "authentication_error",
        "code": "unauthorized",
        "message": "The API key you used is missing the permission music_generation "
        "to execute this operation.",
        "status": "missing_permissions",
    },
)
PAYMENT_REQUIRED = answer(
    402,
    {
        "status": "limited_access",
        "message": "Music API is not available for free users. "
        "Please upgrade to a paid plan to use it.",
    },
)
PAID_PLAN_REQUIRED = answer(
    402,
    {
        "type": "payment_required",
        "code": "paid_plan_required",
        "message": "This feature requires a paid plan.",
        "status": "paid_plan_required",
    },
)
FORBIDDEN = answer(
    403,
    {
        "status": "only_for_creator+",
        "message": "This feature is only available for Creator tier users or above.",
    },
)
VALIDATION_ERROR = answer(
    422,
    [
        {
            "loc": ["body", "music_length_ms"],
            "msg": "Input should be greater than or equal to 3000",
            "type": "greater_than_equal",
        }
    ],
)
BARE_STRING = answer(400, "Bad Request")
SERVER_ERROR = answer(500, {"status": "internal_error", "message": "Something went wrong."})

HTML_PAGE = Fault(
    replace_body=True,
    headers=HTML_TYPE,
    body=b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body></html>",
)
EMPTY_AUDIO = Fault(replace_body=True, headers=AUDIO_TYPE)
JSON_AS_AUDIO = Fault(replace_body=True, headers=AUDIO_TYPE, body=b'{"detail":"not a song"}')
TRUNCATED = Fault(truncate=True)
CUT_BEFORE = Fault(cut="before")
CUT_AFTER = Fault(cut="after")
CUT_MIDDLE = Fault(cut="middle")
