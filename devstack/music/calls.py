"""The record of a call to the music provider, and what became of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from devstack.music.rules import read_body

Outcome = Literal[
    "running", "composed", "rejected", "refused", "throttled", "failed", "replaced", "cut"
]
"""``composed`` alone is billed, however the answer then fared. ``rejected`` is 400 or 422,
``refused`` 401 to 403, ``replaced`` a 200 that is not a song, ``cut`` a connection dropped before
any work, ``failed`` every other error. ``running`` has not ended, or the server was stopped."""


@dataclass
class MusicCall:
    """One ``POST /v1/music``. ``at`` is the clock when it came in; ``prompt`` "" if unreadable."""

    at: float
    prompt: str = ""
    prompt_sha256: str = ""
    model_id: str | None = None
    length_ms: int | None = None
    outcome: Outcome = "running"
    seconds: float = 0.0


def record(raw: bytes, now: float) -> MusicCall:
    """What the call asked for, as far as it can be read: it may yet be refused."""
    body = read_body(raw) or {}
    prompt, model_id, length_ms = (
        body.get(name) for name in ("prompt", "model_id", "music_length_ms")
    )
    if not isinstance(prompt, str):
        prompt = ""
    digest = hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()
    return MusicCall(
        at=now,
        prompt=prompt,
        prompt_sha256=digest if prompt else "",
        model_id=model_id if isinstance(model_id, str) else None,
        length_ms=length_ms if isinstance(length_ms, int) else None,
    )


def outcome_of(status: int) -> Outcome:
    """What an answer other than a song makes of its call."""
    if status < 300:
        return "replaced"
    known: dict[int, Outcome] = {400: "rejected", 422: "rejected", 429: "throttled"}
    return known.get(status, "refused" if status in (401, 402, 403) else "failed")
