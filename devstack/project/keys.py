"""The keys of the embedded Supabase: public constants, the same on every machine.

``JWT_SECRET`` is the one the Supabase CLI uses locally, so tokens made for either work with both.
They open nothing outside this machine, and a real project must never be given them.
"""

from __future__ import annotations

import time

import jwt

JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"

_LOCAL_KEYS_EXPIRE = 1983812996  # the date in the CLI's keys: November 2032
_USER_TOKEN_SECONDS = 3600


def _sign(claims: dict[str, object]) -> str:
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


def _api_key(role: str) -> str:
    return _sign({"iss": "supabase-demo", "role": role, "exp": _LOCAL_KEYS_EXPIRE})


ANON_KEY = _api_key("anon")
SERVICE_ROLE_KEY = _api_key("service_role")


def user_token(user_id: str) -> str:
    """The access token of a signed-in buyer, valid for an hour, as Supabase Auth would issue it."""
    now = int(time.time())
    return _sign(
        {
            "iss": "supabase-demo",
            "aud": "authenticated",
            "role": "authenticated",
            "sub": user_id,
            "iat": now,
            "exp": now + _USER_TOKEN_SECONDS,
        }
    )
