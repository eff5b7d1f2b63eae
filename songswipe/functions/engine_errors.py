"""How our errors become Inngest's, in one place.

What is raised out of a step ends up in Inngest's dashboard with its message and its stack. So it is
always an exception made here, of codes only, without the cause it came from. The number of retries
is part of the message, because nothing else of a run's history reaches the failure handler.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import inngest

from songswipe.errors import PermanentError, TransientError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

RETRIES = 4
"""Retries of every step of generate-song: five attempts."""

_RETRIES_IN_MESSAGE = re.compile(r"\(after (\d+) retries\)\Z")


class StepFailedError(Exception):
    """A step did not succeed and may be tried again, if attempts remain."""


class RunFailedError(inngest.NonRetriableError):
    """The run cannot succeed."""


def is_last(attempt: int) -> bool:
    """``attempt`` counts from 0, as in Inngest's context."""
    return attempt >= RETRIES


def for_engine(function: Callable[P, T], attempt: int) -> Callable[P, T]:
    """The same step body, raising only what the engine may see."""

    @wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except PermanentError as error:
            failure: Exception = RunFailedError(describe(str(error), attempt))
        except TransientError as error:
            failure = _retry(error, attempt)
        except Exception as error:  # noqa: BLE001 - a bug's message may hold a customer's words
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("unexpected %s in a step\n%s", type(error).__name__, frames)
            failure = StepFailedError(describe(f"unexpected {type(error).__name__}", attempt))
        raise failure

    return body


def _retry(error: TransientError, attempt: int) -> Exception:
    message = describe(str(error), attempt)
    if error.retry_after_seconds is None or is_last(attempt):
        return StepFailedError(message)
    # Its plain number would be milliseconds.
    return inngest.RetryAfterError(message, timedelta(seconds=error.retry_after_seconds))


def describe(message: str, attempt: int) -> str:
    return f"{message} (after {attempt} retries)"


def retries_in(message: str) -> int:
    """Retries that a failed run had used. Errors that are not ours come when all are used up."""
    found = _RETRIES_IN_MESSAGE.search(message)
    return int(found[1]) if found else RETRIES
