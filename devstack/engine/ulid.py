"""ULIDs: 26 characters that sort by time, the form of every id that the engine gives out."""

from __future__ import annotations

import base64
import binascii
import random

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ENTROPY_BITS = 80


def new_ulid(now_seconds: float, rng: random.Random) -> str:
    return _encode(round(now_seconds * 1000), rng.getrandbits(_ENTROPY_BITS))


def seeded_ulid(seed: str, index: int) -> str | None:
    """The ULID of the ``index``-th event of a request that carries a seed; None if it has no sense.

    The SDK sends ``x-inngest-event-id-seed: <ms>,<10 bytes in base64>``, the same on each of its
    retries, so that a request which arrives twice makes the same events.
    """
    milliseconds, _, entropy = seed.partition(",")
    try:
        raw = base64.b64decode(entropy, validate=True)
        time_ms = int(milliseconds)
    except (ValueError, binascii.Error):
        return None
    if len(raw) != _ENTROPY_BITS // 8 or not 0 <= time_ms < 1 << 48:
        return None
    return _encode(time_ms, (int.from_bytes(raw, "big") + index) % (1 << _ENTROPY_BITS))


def _encode(time_ms: int, entropy: int) -> str:
    number = time_ms << _ENTROPY_BITS | entropy
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
