"""Songs in Storage."""

from __future__ import annotations

from songswipe.store.calls import BUCKET, DuplicateObjectError, StoreCalls, our_errors


class AudioCalls(StoreCalls):
    """The private bucket of songs."""

    def upload_audio(self, path: str, audio: bytes, *, replace: bool = False) -> bool:
        """Stores a song. False if something lies there already and it is not to be replaced."""
        options = {"content-type": "audio/mpeg", "upsert": "true" if replace else "false"}
        try:
            with our_errors():
                self._client.storage.from_(BUCKET).upload(path, audio, options)  # type: ignore[arg-type]
        except DuplicateObjectError:
            return False
        return True

    def download_audio(self, path: str) -> bytes:
        with our_errors():
            return self._client.storage.from_(BUCKET).download(path)
