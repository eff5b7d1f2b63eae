"""The app's log on our own output, as it grows."""

from __future__ import annotations

import sys
import time
from pathlib import Path


class LogReader:
    """Starts at the end of what the log holds already."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size

    def print_news(self, wait_seconds: float) -> None:
        """Waits, and prints what has come in the meantime."""
        time.sleep(wait_seconds)
        with self._log.open("rb") as file:
            file.seek(self._position)
            news = file.read()
        self._position += len(news)
        sys.stdout.write(news.decode(errors="replace"))
        sys.stdout.flush()
