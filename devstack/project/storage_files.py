"""The bytes of stored objects, as files in one folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath
from uuid import uuid4


class StorageFiles:
    """Every version of an object is a file of its own: ``bucket/key.mp3/version.mp3``.

    So an object is replaced by pointing its row at another file, ``a`` and ``a/b`` can both be
    keys, and a song in the folder can still be played.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def path(self, bucket: str, key: str, version: str) -> Path:
        return self._folder / bucket / key / f"{version}{PurePosixPath(key).suffix}"

    def write(self, bucket: str, key: str, version: str, content: bytes) -> None:
        """Write a version, whole or not at all."""
        path = self.path(bucket, key, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{uuid4().hex}.part")
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def remove(self, bucket: str, key: str, version: str) -> None:
        """Remove a version and the folders that this leaves empty."""
        path = self.path(bucket, key, version)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: other objects live there
            for parent in path.parents:
                if parent in (self._folder, self._folder / bucket):
                    break
                parent.rmdir()
