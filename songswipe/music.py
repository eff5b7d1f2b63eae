"""The ElevenLabs Music client: one call, one song, no retries of its own.

There is no idempotency key in this API, and a call that was sent may have been billed whatever came
back. So every way in which a call can end is told apart here: see ``_from_response`` and
``_from_requests``, the only two places where foreign errors become ours.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from songswipe.audio import NotAudioError, TruncatedAudioError, mp3_duration_ms
from songswipe.errors import (
    MusicError,
    MusicOutcomeUnknownError,
    MusicRefusedError,
    MusicRejectedError,
    MusicThrottledError,
    MusicUnavailableError,
)
from songswipe.models import Song

LENGTH_LIMITS_MS = (3_000, 600_000)
"""Shortest and longest music_length_ms the API takes."""

MAX_AUDIO_BYTES = 32 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 3600.0
_CHUNK_BYTES = 64 * 1024

# 504 and its Cloudflare cousin say that the origin went on composing for all anybody knows.
_TIMEOUT_STATUSES = (504, 524)


class MusicClient:
    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        model_id: str,
        output_format: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        total_timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.model_id = model_id
        self._url = f"{base_url}/v1/music"
        self._output_format = output_format
        self._timeout = (connect_timeout_seconds, read_timeout_seconds)
        self._total_timeout_seconds = total_timeout_seconds
        self._clock = clock
        self._now = now
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(max_retries=0))
        self._session.mount("https://", HTTPAdapter(max_retries=0))
        # A kept connection that the server has just closed would make a call that was never taken
        # look like one whose outcome is unknown.
        self._session.headers.update({"xi-api-key": api_key, "Connection": "close"})

    def compose(self, prompt: str, length_ms: int) -> Song:
        """Buys one song of about ``length_ms``.

        Raises a MusicError; its ``outcome`` says whether a song may have been made.
        """
        give_up_at = self._clock() + self._total_timeout_seconds
        try:
            with self._session.post(
                self._url,
                params={"output_format": self._output_format},
                json={
                    "prompt": prompt,
                    "music_length_ms": length_ms,
                    "model_id": self.model_id,
                    "force_instrumental": False,
                },
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                body = self._read(response, give_up_at)
        except requests.RequestException as error:
            # Its message holds the address; its cause could hold more.
            raise _from_requests(error) from None
        if response.status_code == 200:
            return _song(body, response)
        raise _from_response(response, body, self._now())

    def _read(self, response: requests.Response, give_up_at: float) -> bytes:
        """The whole body, within the time for the whole call (requests bounds each read only)."""
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size > MAX_AUDIO_BYTES:
                raise MusicOutcomeUnknownError("body_too_large")
            if self._clock() > give_up_at:
                raise MusicOutcomeUnknownError("total_timeout")
        return b"".join(parts)


def _song(body: bytes, response: requests.Response) -> Song:
    try:
        duration_ms = mp3_duration_ms(body)
    except NotAudioError:
        raise _with_status(MusicUnavailableError("not_audio"), 200) from None
    except TruncatedAudioError:
        raise _with_status(MusicOutcomeUnknownError("audio_truncated"), 200) from None
    song_id = response.headers.get("song-id")
    return Song(body, duration_ms, song_id[:200] if song_id else None)


def _from_response(response: requests.Response, body: bytes, now: datetime) -> MusicError:
    status = response.status_code
    detail = _detail(body)
    code = _code(detail) or f"http_{status}"
    return _with_status(_by_status(status, code, detail, _retry_after(response, now)), status)


def _by_status(
    status: int, code: str, detail: dict[str, Any], retry_after_seconds: float | None
) -> MusicError:
    if status == 400:
        error = MusicRejectedError(code)
        error.suggestion = _suggestion(detail)
        return error
    if status in (413, 422):
        return MusicRejectedError("invalid_request")
    if status == 429:
        return MusicThrottledError(code, retry_after_seconds=retry_after_seconds)
    if status in _TIMEOUT_STATUSES:
        return MusicOutcomeUnknownError(f"http_{status}")
    if status >= 500 or status in (408, 409, 425):
        return MusicUnavailableError(f"http_{status}", retry_after_seconds=retry_after_seconds)
    # 401, 402, 403; and a 3xx or 404, which means that the address is wrong.
    return MusicRefusedError(code)


def _from_requests(error: requests.RequestException) -> MusicError:
    """Told apart by one question: can the provider have seen the whole request?"""
    if isinstance(error, requests.ConnectTimeout):
        return MusicUnavailableError("connect_timeout")
    if isinstance(error, requests.ReadTimeout):
        return MusicOutcomeUnknownError("read_timeout")
    if isinstance(error, (requests.exceptions.ProxyError, requests.exceptions.SSLError)):
        return MusicUnavailableError("connection_failed")
    if isinstance(error, ValueError):
        # InvalidURL and its like: the address or the key in the settings cannot be used.
        return MusicRefusedError("request_not_sendable")
    if isinstance(error, requests.ConnectionError) and _never_connected(error):
        return MusicUnavailableError("connection_failed")
    return MusicOutcomeUnknownError("connection_cut")


def _never_connected(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(
        reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    )


def _with_status(error: MusicError, status: int) -> MusicError:
    error.http_status = status
    return error


def _detail(body: bytes) -> dict[str, Any]:
    """The error's detail. It may be an object, a list, a string, or not JSON at all."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    return detail if isinstance(detail, dict) else {}


def _code(detail: dict[str, Any]) -> str | None:
    """The error's machine-readable word: ``code`` is today's field, ``status`` the older one."""
    for key in ("code", "status"):
        value = detail.get(key)
        if isinstance(value, str) and re.fullmatch(r"[a-z0-9_+-]{1,64}", value):
            return value
    return None


def _suggestion(detail: dict[str, Any]) -> str | None:
    data = detail.get("data")
    suggestion = data.get("prompt_suggestion") if isinstance(data, dict) else None
    return suggestion if isinstance(suggestion, str) and suggestion.strip() else None


def _retry_after(response: requests.Response, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After of either form, within sensible bounds."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = (
            float(value)
            if value.isdigit()
            else (parsedate_to_datetime(value) - now).total_seconds()
        )
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS)
