"""The one reader of the environment.

Every variable is declared once, with its parser, its default and what it is for; the README's table
and ``.env.example`` are checked against these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from songswipe.errors import SettingsError

REQUIRED = MISSING


def _text(value: str) -> str:
    return value


def _key(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be plain ASCII without spaces, since it travels in a header")
    return value


def _stripe_key(value: str) -> str:
    if not re.match(r"(sk|rk)_(test|live)_", value):
        raise ValueError("must be a secret or restricted key (sk_test_, sk_live_, rk_...)")
    return _key(value)


def _url(value: str) -> str:
    if not _is_web_address(value):
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _secrets(value: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    if not found or not all(part.startswith("whsec_") for part in found):
        raise ValueError("must be one or more secrets (whsec_...), separated by commas")
    return found


def _seconds(value: str) -> float:
    number = float(value)
    if not 0 < number < 1e6:
        raise ValueError("must be a positive number of seconds")
    return number


def _count(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("must be a whole number, 0 or more")
    return number


def _flag(value: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in known:
        raise ValueError("must be true or false")
    return known[value.lower()]


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError("must be a cron expression of five fields")
    return value


def _mp3_format(value: str) -> str:
    if not value.startswith("mp3_"):
        raise ValueError("must be one of the provider's mp3_... formats")
    return value


def _level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


@dataclass(frozen=True)
class Variable:
    """One environment variable: its name, how it is read, and what it is for."""

    name: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


def _variable(
    name: str,
    parse: Callable[[str], Any],
    help: str,
    *,
    default: Any = REQUIRED,
    secret: bool = False,
) -> Any:
    metadata = {"variable": Variable(name, parse, help, secret)}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    supabase_url: str = _variable("SUPABASE_URL", _url, "Address of the Supabase project's API.")
    supabase_service_role_key: str = _variable(
        "SUPABASE_SERVICE_ROLE_KEY",
        _key,
        "Secret (sb_secret_...) or service role key.",
        secret=True,
    )
    supabase_timeout_seconds: float = _variable(
        "SUPABASE_TIMEOUT_SECONDS",
        _seconds,
        "Longest wait for one answer of Supabase, outside the webhook.",
        default=10.0,
    )
    stripe_webhook_secrets: tuple[str, ...] = _variable(
        "STRIPE_WEBHOOK_SECRET",
        _secrets,
        "Signing secret of the webhook endpoint (whsec_...); two, separated by a comma, while one "
        "is being rolled.",
        secret=True,
    )
    stripe_secret_key: str = _variable(
        "STRIPE_SECRET_KEY",
        _stripe_key,
        "Secret or restricted key (sk_..., rk_...), for reconciliation and refunds. It also tells "
        "live payments from test ones: events of the other kind are ignored.",
        secret=True,
    )
    stripe_api_base: str = _variable(
        "STRIPE_API_BASE", _url, "Address of Stripe's API.", default="https://api.stripe.com"
    )
    stripe_reconcile_cron: str = _variable(
        "STRIPE_RECONCILE_CRON",
        _cron,
        "When payments are reconciled with Stripe.",
        default="17 4 * * *",
    )
    auto_refund: bool = _variable(
        "AUTO_REFUND",
        _flag,
        "true: an order that failed without a song, through no fault of the operator's, is paid "
        "back through Stripe.",
        default=False,
    )
    webhook_budget_seconds: float = _variable(
        "WEBHOOK_BUDGET_SECONDS",
        _seconds,
        "Stripe has its answer by then, whatever our neighbours do.",
        default=2.5,
    )
    inngest_event_key: str = _variable(
        "INNGEST_EVENT_KEY",
        _key,
        "Key for sending events. Required unless INNGEST_DEV is set.",
        default="",
        secret=True,
    )
    inngest_signing_key: str = _variable(
        "INNGEST_SIGNING_KEY",
        _key,
        "Key that proves Inngest's calls. Required unless INNGEST_DEV is set.",
        default="",
        secret=True,
    )
    inngest_dev: str = _variable(
        "INNGEST_DEV",
        _text,
        "1, or the address of a dev server: talk to the Inngest dev server, without keys.",
        default="",
    )
    inngest_base_url: str = _variable(
        "INNGEST_BASE_URL", _url, "Address of a self-hosted Inngest server.", default=""
    )
    inngest_signing_key_fallback: str = _variable(
        "INNGEST_SIGNING_KEY_FALLBACK",
        _key,
        "The old signing key while one is being rolled.",
        default="",
        secret=True,
    )
    inngest_env: str = _variable(
        "INNGEST_ENV", _text, "Name of the Inngest branch environment.", default=""
    )
    generation_concurrency: int = _variable(
        "GENERATION_CONCURRENCY",
        _count,
        "Most orders that Inngest lets generate at once; 0 for your plan's own limit.",
        default=0,
    )
    generation_deadline_seconds: float = _variable(
        "GENERATION_DEADLINE_SECONDS",
        _seconds,
        "An order without an end after this long is started anew by the sweep.",
        default=1800.0,
    )
    handover_grace_seconds: float = _variable(
        "HANDOVER_GRACE_SECONDS",
        _seconds,
        "How old a stored order must be before the sweep hands it over.",
        default=60.0,
    )
    max_redrives: int = _variable(
        "MAX_REDRIVES",
        _count,
        "How often the sweep starts an order anew before it becomes a dead letter.",
        default=3,
    )
    reconcile_cron: str = _variable(
        "RECONCILE_CRON",
        _cron,
        "When the sweep runs (each run is a billed Inngest run).",
        default="*/2 * * * *",
    )
    eleven_labs_api_key: str = _variable(
        "ELEVEN_LABS_API_KEY", _key, "ElevenLabs key, with the music permission.", secret=True
    )
    eleven_labs_base_url: str = _variable(
        "ELEVEN_LABS_BASE_URL",
        _url,
        "Address of the ElevenLabs API.",
        default="https://api.elevenlabs.io",
    )
    music_model_id: str = _variable(
        "MUSIC_MODEL_ID", _text, "ElevenLabs music model.", default="music_v1"
    )
    music_output_format: str = _variable(
        "MUSIC_OUTPUT_FORMAT",
        _mp3_format,
        "ElevenLabs output format; an MP3 one.",
        default="mp3_44100_128",
    )
    music_connect_timeout_seconds: float = _variable(
        "MUSIC_CONNECT_TIMEOUT_SECONDS",
        _seconds,
        "Longest wait for a connection to ElevenLabs.",
        default=10.0,
    )
    music_read_timeout_seconds: float = _variable(
        "MUSIC_READ_TIMEOUT_SECONDS",
        _seconds,
        "Longest silence of ElevenLabs while it composes.",
        default=300.0,
    )
    music_total_timeout_seconds: float = _variable(
        "MUSIC_TOTAL_TIMEOUT_SECONDS",
        _seconds,
        "Longest call to ElevenLabs altogether.",
        default=360.0,
    )
    patience_seconds: float = _variable(
        "PATIENCE_SECONDS",
        _seconds,
        "How long a song that was bought is offered to Storage and the database before the "
        "attempt ends.",
        default=20.0,
    )
    max_body_bytes: int = _variable(
        "MAX_BODY_BYTES", _count, "Largest webhook body; more is answered 413.", default=1024 * 1024
    )
    log_level: str = _variable(
        "LOG_LEVEL", _level, "DEBUG, INFO, WARNING or ERROR.", default="INFO"
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Raises SettingsError that names every variable that is missing or malformed."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for item in fields(cls):
            variable: Variable = item.metadata["variable"]
            text = environ.get(variable.name, "").strip()
            if not text:
                if item.default is REQUIRED:
                    problems.append(f"{variable.name} is missing. {variable.help}")
                continue
            try:
                values[item.name] = variable.parse(text)
            except ValueError as error:
                problems.append(f"{variable.name} {_plain_words(error)}.")
        problems += _missing_inngest_keys(environ)
        if problems:
            raise SettingsError(problems)
        return cls(**values)

    @property
    def claim_lease_seconds(self) -> float:
        """How long a variant stays claimed by a process that vanished.

        Longer than the longest way from the claim to the end: one call to the provider, which may
        fall silent once more just before its time is up, and then at most five calls to Supabase,
        each insisted on.
        """
        call = (
            self.music_connect_timeout_seconds
            + self.music_total_timeout_seconds
            + self.music_read_timeout_seconds
        )
        return call + 6 * (self.patience_seconds + self.supabase_timeout_seconds)

    @property
    def inngest_is_dev(self) -> bool:
        return not _means_no(self.inngest_dev)

    @property
    def stripe_livemode(self) -> bool:
        """Whether this deployment is for live payments, which its Stripe key tells."""
        return self.stripe_secret_key.startswith(("sk_live_", "rk_live_"))


def variables() -> list[tuple[Variable, Any]]:
    """Every declared variable with its default (REQUIRED if it has none)."""
    return [(item.metadata["variable"], item.default) for item in fields(Settings)]


def _plain_words(error: ValueError) -> str:
    text = str(error)
    # The parser's own words could quote the value, and the value could be a secret.
    return text if text.startswith("must be") else "is not a number"


def _missing_inngest_keys(environ: Mapping[str, str]) -> list[str]:
    """Inngest's keys are needed, but not by its dev server."""
    if not _means_no(environ.get("INNGEST_DEV", "")):
        return []
    return [
        f"{name} is missing. It is needed unless INNGEST_DEV is set."
        for name in ("INNGEST_EVENT_KEY", "INNGEST_SIGNING_KEY")
        if not environ.get(name, "").strip()
    ]


def _means_no(value: str) -> bool:
    return value.strip().lower() in ("", "0", "false")
