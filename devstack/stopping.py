"""Ctrl-C, SIGTERM and a closed terminal all end a command the same, orderly way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Raised in the main thread by the first signal. Cleaning up is all that is left to do."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turns the first signal into ``Stopped``; later ones cannot disturb what it sets off."""

    def stop(number: int, frame: FrameType | None) -> None:
        hold_signals()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """A signal waits until the end of the block, for what must not be left half done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold_signals() -> None:
    """From here on no signal interrupts: whoever calls this is cleaning up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
