"""How our errors become Inngest's: with the retries that were used, and without anybody's words."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta

import inngest
import pytest
from hypothesis import given
from hypothesis import strategies as st

from songswipe import errors
from songswipe.errors import (
    MusicThrottledError,
    NoSongError,
    PermanentError,
    StoreUnavailableError,
    TransientError,
    VariantsUnfinishedError,
)
from songswipe.functions.engine_errors import (
    RETRIES,
    RunFailedError,
    StepFailedError,
    describe,
    for_engine,
    is_last,
    retries_in,
)

WORDS = "the heliotrope umbrella"


def subclasses(base: type[Exception]) -> list[type[Exception]]:
    found = [item for item in vars(errors).values() if isinstance(item, type)]
    return [item for item in found if issubclass(item, base) and item is not base]


def fails(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def raised_from(error: BaseException, attempt: int = 0) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is what is tested
        for_engine(fails(error), attempt)()
    return raised.value


@given(st.text(), st.integers(0, 10_000))
def test_the_retries_in_a_message_can_be_read_back(message: str, retries: int) -> None:
    """Whatever the message says before, also where it looks like the count."""
    assert retries_in(describe(message, retries)) == retries
    assert retries_in(describe(describe(message, 7), retries)) == retries


@pytest.mark.parametrize(
    "message",
    [
        "",
        "boom",
        "after 2 retries",
        "(after 2 retries) and then",
        "(after 2 retries)\n",
        "(after x retries)",
    ],
)
def test_a_message_that_is_not_ours_came_when_all_retries_were_used(message: str) -> None:
    assert retries_in(message) == RETRIES


def test_five_attempts_are_four_retries() -> None:
    assert RETRIES == 4
    assert [is_last(attempt) for attempt in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("kind", subclasses(PermanentError), ids=lambda kind: kind.__name__)
def test_a_permanent_error_ends_the_run(kind: type[PermanentError]) -> None:
    error = raised_from(kind(), attempt=3)

    assert isinstance(error, RunFailedError)
    assert isinstance(error, inngest.NonRetriableError)
    assert str(error) == f"{kind.code} (after 3 retries)"


@pytest.mark.parametrize("kind", subclasses(TransientError), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("attempt", [0, 4])
def test_a_transient_error_leaves_the_engine_to_try_again(
    kind: type[TransientError], attempt: int
) -> None:
    error = raised_from(kind(), attempt)

    assert type(error) is StepFailedError
    assert not isinstance(error, inngest.NonRetriableError)
    assert str(error) == f"{kind.code} (after {attempt} retries)"


def test_every_error_of_ours_can_or_cannot_be_mended_by_trying_again() -> None:
    """But for the base classes, and those that never leave a step."""
    leaves = set(subclasses(errors.SongSwipeError)) - {PermanentError, TransientError}
    sorted_out = set(subclasses(PermanentError)) | set(subclasses(TransientError))

    assert leaves - sorted_out == {
        errors.SettingsError,
        errors.InvalidEventError,
        errors.MusicError,
    }
    assert not set(subclasses(PermanentError)) & set(subclasses(TransientError))


def test_a_wait_that_was_asked_for_is_passed_on_in_seconds() -> None:
    """Inngest's own number would be milliseconds."""
    before = datetime.now()
    error = raised_from(MusicThrottledError(retry_after_seconds=90), attempt=2)

    assert isinstance(error, inngest.RetryAfterError)
    asked = error.retry_after - before
    assert timedelta(seconds=89) <= asked <= timedelta(seconds=95)
    assert str(error) == "throttled (after 2 retries)"


def test_on_the_last_attempt_there_is_nothing_to_wait_for() -> None:
    error = raised_from(VariantsUnfinishedError(retry_after_seconds=90), attempt=4)

    assert type(error) is StepFailedError
    assert str(error) == "variants_unfinished (after 4 retries)"


def test_a_body_that_succeeds_gives_its_result_and_takes_its_arguments() -> None:
    assert for_engine(lambda a, *, b: (a, b), 0)(1, b=2) == (1, 2)


# What must not be told


def leaking() -> list[Exception]:
    """Errors as a bug or a library could raise them, with a customer's words in them."""
    caused = StoreUnavailableError()
    caused.__cause__ = ValueError(WORDS)
    in_context = NoSongError()
    in_context.__context__ = ValueError(WORDS)
    grouped = ExceptionGroup(WORDS, [ValueError(WORDS)])
    noted = ValueError(WORDS)
    noted.add_note(WORDS)
    return [ValueError(WORDS), KeyError(WORDS), caused, in_context, grouped, noted]


@pytest.mark.parametrize("error", leaking(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("attempt", [0, 4])
def test_no_words_of_an_error_that_is_not_ours_reach_the_engine(
    error: Exception, attempt: int
) -> None:
    """Not in the message, the stack, a cause or a note: Inngest shows all of them."""
    told = raised_from(error, attempt)

    assert WORDS not in str(told) + repr(told)
    assert WORDS not in "".join(traceback.format_exception(told))
    assert told.__cause__ is None
    assert told.__context__ is None


@pytest.mark.parametrize("error", leaking(), ids=lambda error: type(error).__name__)
def test_no_words_of_an_error_that_is_not_ours_reach_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The place is logged, by file and line, and the kind; that is enough to find a bug."""
    logger = logging.getLogger("songswipe.functions.engine_errors")
    logger.addHandler(caplog.handler)
    try:
        raised_from(error)
    finally:
        logger.removeHandler(caplog.handler)

    assert WORDS not in caplog.text


def test_a_bug_is_named_by_its_kind_and_its_place_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("songswipe.functions.engine_errors")
    logger.addHandler(caplog.handler)
    try:
        told = raised_from(KeyError(WORDS), attempt=1)
    finally:
        logger.removeHandler(caplog.handler)

    assert str(told) == "unexpected KeyError (after 1 retries)"
    assert "KeyError" in caplog.text
    assert "test_engine_errors.py" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_the_process_is_not_an_error_of_a_step(error: BaseException) -> None:
    with pytest.raises(type(error)):
        for_engine(fails(error), 0)()
