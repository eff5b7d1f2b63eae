"""One attempt at one variant: claim it, buy the song, store it, mark it complete.

The order of things is what keeps a song from being bought twice. The purchase is in the ledger
before the provider is called; the audio is in Storage before the variant says ``complete``; and
between any two of these the process may die: the next claim sees what was left and goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

from songswipe.audio import mp3_duration_ms
from songswipe.errors import (
    MusicError,
    MusicRefusedError,
    MusicRejectedError,
    StoreRejectedError,
    StoreUnavailableError,
    TransientError,
)
from songswipe.models import (
    Claim,
    Customization,
    GenerationRequest,
    PurchaseResult,
    Song,
    VariantResult,
)
from songswipe.music import LENGTH_LIMITS_MS, MusicClient
from songswipe.patience import Patience
from songswipe.prompts import build_prompt, build_rephrased_prompt, prompt_sha256
from songswipe.store import ClaimTerms, Store

log = logging.getLogger(__name__)

_CLAIM_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class Attempt:
    """Which attempt of which run works on an order. On the last one nothing is left for later."""

    run_id: str
    number: int
    is_last: bool


@dataclass(frozen=True)
class VariantMaker:
    store: Store
    music: MusicClient
    lease_seconds: float
    patience: Patience
    new_token: Callable[[], str] = lambda: str(uuid4())

    def make_all(
        self,
        request: GenerationRequest,
        customization: Customization,
        numbers: list[int],
        attempt: Attempt,
    ) -> list[VariantResult]:
        """Works on the variants in parallel. Every one has ended its attempt when this returns."""
        if not numbers:
            return []
        with ThreadPoolExecutor(len(numbers), thread_name_prefix="variant") as pool:
            futures = [
                pool.submit(_VariantAttempt(self, request, customization, number, attempt).run)
                for number in numbers
            ]
        return [future.result() for future in futures]


class _VariantAttempt:
    """The attempt at one variant. Never raises for what a neighbour does: it tells the result."""

    def __init__(
        self,
        maker: VariantMaker,
        request: GenerationRequest,
        customization: Customization,
        number: int,
        attempt: Attempt,
    ) -> None:
        self._maker = maker
        self._store = maker.store
        self._request = request
        self._customization = customization
        self._number = number
        self._attempt = attempt
        self._path = request.storage_path(number)
        self._token = maker.new_token()
        # Whether the claim can be given back before its lease ends: true while no song would be
        # forgotten by it.
        self._may_release = False

    def run(self) -> VariantResult:
        try:
            result = self._buy(build_prompt(self._customization), may_rephrase=True)
        except (StoreUnavailableError, StoreRejectedError) as error:
            # Whatever was reached is in the ledger or under the claim; the next attempt sees it.
            log.warning("order %s variant %s: %s", self._request.order_id, self._number, error)
            self._release()
            result = self._result("retry", error.code)
        log.info(
            "order %s variant %s: %s %s",
            self._request.order_id,
            self._number,
            result.state,
            result.reason or "",
        )
        return result

    def _buy(self, prompt: str, *, may_rephrase: bool, ignore_audio: bool = False) -> VariantResult:
        claim = self._claim(prompt, ignore_audio)
        if claim.decision in ("kept", "adopt"):
            self._may_release = True
            return self._deliver_kept() if claim.decision == "kept" else self._adopt(prompt)
        if claim.decision != "buy":
            return self._result(claim.decision, claim.reason, claim.retry_after_seconds)
        self._may_release = False
        try:
            song = self._maker.music.compose(prompt, self._length_ms)
        except MusicError as error:
            return self._after_failure(error, may_rephrase)
        return self._deliver(song)

    def _claim(self, prompt: str, ignore_audio: bool) -> Claim:
        terms = ClaimTerms(
            token=self._token,
            run_id=self._attempt.run_id,
            attempt=self._attempt.number,
            lease_seconds=self._maker.lease_seconds,
            prompt_sha256=prompt_sha256(prompt),
            model_id=self._maker.music.model_id,
            length_ms=self._length_ms,
        )
        patience = Patience(
            min(_CLAIM_PATIENCE_SECONDS, self._maker.patience.seconds),
            self._maker.patience.clock,
            self._maker.patience.sleep,
        )
        return patience.insist(
            lambda: self._store.claim_variant(
                self._request, self._number, terms, ignore_audio=ignore_audio
            )
        )

    @property
    def _length_ms(self) -> int:
        shortest, longest = LENGTH_LIMITS_MS
        return min(max(self._customization.song_length_seconds * 1000, shortest), longest)

    def _after_failure(self, error: MusicError, may_rephrase: bool) -> VariantResult:
        rephrased = None
        if may_rephrase and isinstance(error, MusicRejectedError):
            rephrased = build_rephrased_prompt(error.suggestion)
        is_transient = isinstance(error, TransientError)
        state = self._maker.patience.insist(
            lambda: self._store.close_purchase(
                self._request,
                self._number,
                self._token,
                PurchaseResult(
                    outcome=error.outcome,
                    reason=error.code,
                    http_status=error.http_status,
                    operators_business=isinstance(error, MusicRefusedError),
                    fail=rephrased is None and (not is_transient or self._attempt.is_last),
                ),
            )
        )
        if rephrased is not None:
            self._token = self._maker.new_token()
            return self._buy(rephrased, may_rephrase=False)
        if state in ("failed", "complete"):
            return self._result(state, error.code)
        retry_after = error.retry_after_seconds if isinstance(error, TransientError) else None
        return self._result("retry", error.code, retry_after)

    def _deliver(self, song: Song) -> VariantResult:
        """Brings a song that was bought to Storage, or at least into the database."""
        try:
            song = self._store_audio(song)
        except (StoreUnavailableError, StoreRejectedError) as error:
            log.warning(
                "order %s variant %s: %s; the song is kept in the database",
                self._request.order_id,
                self._number,
                error,
            )
            self._maker.patience.insist(
                lambda: self._store.keep_audio(
                    self._request,
                    self._number,
                    self._token,
                    song.audio,
                    duration_ms=song.duration_ms,
                    provider_song_id=song.provider_song_id,
                )
            )
            return self._result("retry", "storage_unavailable")
        return self._finish(song)

    def _store_audio(self, song: Song) -> Song:
        """Returns the song that lies in Storage, which may be an earlier one."""
        insist = self._maker.patience.insist
        if insist(lambda: self._store.upload_audio(self._path, song.audio)):
            return song
        # Our own upload whose answer was lost, or another run's song: either may be delivered.
        stored = insist(self._stored_song)
        if stored is not None:
            return stored
        insist(lambda: self._store.upload_audio(self._path, song.audio, replace=True))
        return song

    def _stored_song(self) -> Song | None:
        """The song in Storage, or None if what lies there cannot be played."""
        audio = self._store.download_audio(self._path)
        try:
            return Song(audio, mp3_duration_ms(audio))
        except ValueError:
            return None

    def _adopt(self, prompt: str) -> VariantResult:
        song = self._maker.patience.insist(self._stored_song)
        if song is not None:
            return self._finish(song)
        return self._buy(prompt, may_rephrase=True, ignore_audio=True)

    def _deliver_kept(self) -> VariantResult:
        audio = self._maker.patience.insist(
            lambda: self._store.find_kept_audio(self._request, self._number)
        )
        if audio is None:
            self._release()
            return self._result("retry", "claimed")
        return self._deliver(Song(audio, mp3_duration_ms(audio)))

    def _finish(self, song: Song) -> VariantResult:
        self._may_release = True
        finished = self._maker.patience.insist(
            lambda: self._store.finish_variant(
                self._request,
                self._number,
                self._token,
                duration_ms=song.duration_ms,
                size_bytes=len(song.audio),
                provider_song_id=song.provider_song_id,
            )
        )
        return self._result("complete" if finished else "stopped")

    def _release(self) -> None:
        if not self._may_release:
            return
        try:
            self._store.release_claim(self._request, self._number, self._token)
        except (StoreUnavailableError, StoreRejectedError) as error:
            log.warning(
                "order %s variant %s: claim not given back: %s",
                self._request.order_id,
                self._number,
                error,
            )

    def _result(
        self, state: str, reason: str | None = None, retry_after_seconds: float | None = None
    ) -> VariantResult:
        return VariantResult(self._number, state, reason, retry_after_seconds)  # type: ignore[arg-type]
