"""What can go wrong, sorted by whether trying again can help.

::

    SongSwipeError
    ├── SettingsError              the environment is incomplete; start-up stops
    ├── InvalidEventError          a Stripe event that is unsigned, stale or unreadable
    ├── TransientError             trying again later can help
    │   ├── StoreUnavailableError      Supabase did not do it, or did not say so
    │   ├── HandoverError              Inngest did not take an event in time
    │   ├── PaymentsUnavailableError   Stripe's API did not answer
    │   ├── VariantsUnfinishedError    variants are left that another attempt may bring
    │   ├── MusicThrottledError        429
    │   ├── MusicUnavailableError      5xx, no connection, 200 with something that is not audio
    │   └── MusicOutcomeUnknownError   a song may have been made and billed
    └── PermanentError             trying again cannot help
        ├── StoreRejectedError         the database says that the request itself is wrong
        ├── InvalidRequestError        the Inngest event does not name an order
        ├── OrderMissingError, CustomizationMissingError
        ├── NoSongError                every variant failed
        ├── PaymentsRefusedError       Stripe's API does not accept the key or the call
        ├── MusicRejectedError         the prompt or the request was refused
        └── MusicRefusedError          key, plan or quota: the operator's business

``code`` is a short machine-readable word. Messages are made of codes and ids only, because they
end up in logs, in Inngest's dashboard and in ``failed_jobs``: never a customer's words.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Outcome = Literal["delivered", "rejected", "refused", "unknown"]
"""How a purchase ended, as the ledger calls it."""


class SongSwipeError(Exception):
    """Base of every error of ours. Its message defaults to its code."""

    code: str = "error"

    def __init__(self, code: str | None = None, message: str | None = None) -> None:
        self.code = code or type(self).code
        super().__init__(message or self.code)


class SettingsError(SongSwipeError):
    code = "settings"

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(message=f"The environment is not complete:\n{lines}\nSee .env.example.")


class InvalidEventError(SongSwipeError):
    code = "invalid_event"


class TransientError(SongSwipeError):
    """``retry_after_seconds`` is how long the other side asked us to wait, if it did."""

    retry_after_seconds: float | None = None

    def __init__(
        self,
        code: str | None = None,
        message: str | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailableError(TransientError):
    code = "store_unavailable"


class HandoverError(TransientError):
    code = "inngest_unavailable"


class PaymentsUnavailableError(TransientError):
    code = "stripe_unavailable"


class VariantsUnfinishedError(TransientError):
    code = "variants_unfinished"


class PermanentError(SongSwipeError):
    pass


class StoreRejectedError(PermanentError):
    code = "store_rejected"


class InvalidRequestError(PermanentError):
    code = "invalid_request"


class OrderMissingError(PermanentError):
    code = "order_missing"


class CustomizationMissingError(PermanentError):
    code = "customization_missing"


class NoSongError(PermanentError):
    code = "no_song"


class PaymentsRefusedError(PermanentError):
    code = "stripe_refused"


class MusicError(SongSwipeError):
    """The provider did not deliver. ``outcome`` is what the ledger notes of the call."""

    outcome: ClassVar[Outcome] = "refused"
    http_status: int | None = None


class MusicThrottledError(MusicError, TransientError):
    code = "throttled"


class MusicUnavailableError(MusicError, TransientError):
    code = "unavailable"


class MusicOutcomeUnknownError(MusicError, TransientError):
    code = "outcome_unknown"
    outcome = "unknown"


class MusicRejectedError(MusicError, PermanentError):
    """``suggestion`` is the provider's own prompt that would pass, if it gave one."""

    code = "rejected"
    outcome = "rejected"
    suggestion: str | None = None


class MusicRefusedError(MusicError, PermanentError):
    code = "refused"
