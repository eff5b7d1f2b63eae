"""Where our log lines go: standard error, one line each, of ids and codes only."""

from __future__ import annotations

import logging

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging(level: str) -> None:
    """Sets up the ``songswipe`` loggers once; other libraries keep their own settings."""
    logger = logging.getLogger("songswipe")
    logger.setLevel(level)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False
