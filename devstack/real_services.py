"""Where the environment names a real service, which then takes the place of our stand-in.

======================  =========================================================================
a real …                is used when the environment has
======================  =========================================================================
Supabase project        SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY
Inngest dev server      INNGEST_DEV with its address (1: the usual one, 0: none, use the engine)
the same, started here  no INNGEST_DEV, and an ``inngest`` program named by INNGEST_CLI or on PATH
ElevenLabs              ELEVEN_LABS_BASE_URL and ELEVEN_LABS_API_KEY
Stripe API              STRIPE_API_BASE and STRIPE_SECRET_KEY
======================  =========================================================================

The app is told addresses and keys in either case, and cannot tell the difference.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

USUAL_DEV_SERVER = "http://127.0.0.1:8288"


class RealServicesError(Exception):
    """The environment names only half of a real service; the message says which half is missing."""


@dataclass(frozen=True)
class Account:
    """An address and the key that opens it."""

    url: str
    key: str


@dataclass(frozen=True)
class RealServices:
    """None everywhere means that every part is embedded. Of the two for Inngest, at most one."""

    supabase: Account | None = None
    music: Account | None = None
    stripe: Account | None = None
    inngest_url: str | None = None
    inngest_program: str | None = None

    @property
    def inngest(self) -> bool:
        return self.inngest_url is not None or self.inngest_program is not None

    def named(self) -> list[str]:
        """What is real, in words, for those who should know before it is used."""
        accounts = {"Supabase": self.supabase, "ElevenLabs": self.music, "Stripe API": self.stripe}
        real = [f"{name} at {account.url}" for name, account in accounts.items() if account]
        if self.inngest_url or self.inngest_program:
            real.append(f"Inngest dev server, {self.inngest_url or self.inngest_program}")
        return real

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> RealServices:
        """Raises RealServicesError."""
        inngest_url = _dev_server_url(environ.get("INNGEST_DEV", "").strip())
        return cls(
            supabase=_account(environ, "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"),
            music=_account(environ, "ELEVEN_LABS_BASE_URL", "ELEVEN_LABS_API_KEY"),
            stripe=_account(environ, "STRIPE_API_BASE", "STRIPE_SECRET_KEY"),
            inngest_url=inngest_url,
            inngest_program=None if environ.get("INNGEST_DEV") else _program(environ),
        )


def _account(environ: Mapping[str, str], url_name: str, key_name: str) -> Account | None:
    """A key alone changes nothing: it may be there for another purpose."""
    url, key = environ.get(url_name, "").strip(), environ.get(key_name, "").strip()
    if not url:
        return None
    if not key:
        raise RealServicesError(f"{url_name} is set and {key_name} is not; set both or neither")
    return Account(url.rstrip("/"), key)


def _dev_server_url(value: str) -> str | None:
    if value.startswith(("http://", "https://")):
        return value.rstrip("/")
    if value.lower() in ("", "0", "false"):
        return None
    return USUAL_DEV_SERVER


def _program(environ: Mapping[str, str]) -> str | None:
    named = environ.get("INNGEST_CLI", "").strip()
    if not named:
        return shutil.which("inngest", path=environ.get("PATH"))
    found = shutil.which(named, path=environ.get("PATH"))
    if found is None:
        raise RealServicesError(f"INNGEST_CLI is {named}, and there is no such program")
    return found
