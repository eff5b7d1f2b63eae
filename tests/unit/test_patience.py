"""Bounded insistence and bounded waiting, on clocks that the tests turn."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from songswipe.errors import StoreRejectedError, StoreUnavailableError
from songswipe.patience import BoundedCaller, DeadlineExceededError, Patience, TimeBudget


class Clock:
    """Time passes when somebody sleeps, and by ``cost`` with every call that is counted."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Store:
    """Fails so many times, then answers; each call takes ``seconds`` of the clock."""

    def __init__(self, clock: Clock, failures: int, seconds: float = 0.0) -> None:
        self.calls = 0
        self._clock = clock
        self._failures = failures
        self._seconds = seconds

    def __call__(self) -> str:
        self.calls += 1
        self._clock.now += self._seconds
        if self.calls <= self._failures:
            raise StoreUnavailableError(f"failure_{self.calls}")
        return "done"


def patience(clock: Clock, seconds: float = 20.0) -> Patience:
    return Patience(seconds, clock, clock.sleep)


def test_a_call_that_succeeds_is_made_once(clock: Clock) -> None:
    store = Store(clock, failures=0)

    assert patience(clock).insist(store) == "done"
    assert (store.calls, clock.naps) == (1, [])


def test_a_call_is_repeated_until_it_succeeds(clock: Clock) -> None:
    store = Store(clock, failures=4)

    assert patience(clock).insist(store) == "done"
    assert store.calls == 5
    assert clock.naps == [0.05, 0.1, 0.2, 0.4]


def test_pauses_grow_to_two_seconds_and_no_longer(clock: Clock) -> None:
    patience(clock).insist(Store(clock, failures=10))

    assert clock.naps[-3:] == [2.0, 2.0, 2.0]
    assert max(clock.naps) == 2.0


@pytest.mark.parametrize("seconds", [0.1, 1.0, 20.0])
def test_the_last_error_is_raised_once_the_time_is_up(clock: Clock, seconds: float) -> None:
    store = Store(clock, failures=1_000)
    with pytest.raises(StoreUnavailableError) as raised:
        patience(clock, seconds).insist(store)

    assert raised.value.code == f"failure_{store.calls}"
    assert store.calls > 1
    assert seconds - 2.0 <= clock.now - 100.0 <= seconds


def test_a_slow_call_uses_up_the_time(clock: Clock) -> None:
    """It is not repeated when what is left is less than a pause."""
    store = Store(clock, failures=1_000, seconds=8.0)
    with pytest.raises(StoreUnavailableError):
        patience(clock, 20.0).insist(store)

    assert store.calls == 3


def test_even_a_little_patience_repeats_a_quick_call(clock: Clock) -> None:
    assert patience(clock, 0.02).insist(Store(clock, failures=1)) == "done"


@pytest.mark.parametrize("error", [StoreRejectedError(), KeyError("x"), TimeoutError()])
def test_other_errors_are_raised_at_once(clock: Clock, error: Exception) -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        patience(clock).insist(fail)
    assert (len(calls), clock.naps) == (1, [])


def test_a_budget_runs_out_with_the_clock_and_is_never_negative(clock: Clock) -> None:
    budget = TimeBudget(2.5, clock)
    left = []
    for seconds in (0.0, 1.0, 1.0, 1.0, 100.0):
        clock.now += seconds
        left.append(budget.left_seconds)

    assert left == [2.5, 1.5, 0.5, 0.0, 0.0]


# Calls that nobody waits for


@pytest.fixture
def caller() -> BoundedCaller:
    return BoundedCaller("test", threads=1)


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def raise_(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_bounded_call_gives_its_result(caller: BoundedCaller) -> None:
    assert caller.call(lambda: 7, 5) == 7


def test_a_bounded_call_runs_on_a_thread_of_its_own(caller: BoundedCaller) -> None:
    assert caller.call(lambda: threading.current_thread().name, 5).startswith("test")


@pytest.mark.parametrize("error", [StoreUnavailableError(), ValueError("x"), KeyError("y")])
def test_a_bounded_call_raises_what_the_function_raises(
    caller: BoundedCaller, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        caller.call(raise_(error), 5)

    assert raised.value is error


def test_the_function_s_own_timeout_is_not_taken_for_the_deadline(caller: BoundedCaller) -> None:
    with pytest.raises(TimeoutError, match="its own"):
        caller.call(raise_(TimeoutError("its own")), 5)


def test_nobody_waits_beyond_the_deadline(caller: BoundedCaller, gate: threading.Event) -> None:
    """The call goes on, and what it then does is not lost."""
    done: list[int] = []

    def slow() -> None:
        gate.wait(5)
        done.append(1)

    with pytest.raises(DeadlineExceededError):
        caller.call(slow, 0.01)
    assert done == []

    gate.set()
    caller.call(lambda: None, 5)

    assert done == [1]


def test_a_call_that_had_to_queue_beyond_its_deadline_is_never_made(
    caller: BoundedCaller, gate: threading.Event
) -> None:
    """What nobody waits for must not happen minutes later."""
    late: list[int] = []
    with pytest.raises(DeadlineExceededError):
        caller.call(lambda: gate.wait(5), 0.01)
    with pytest.raises(DeadlineExceededError):
        caller.call(lambda: late.append(1), 0.01)
    gate.set()
    caller.call(lambda: None, 5)

    assert late == []


def test_without_any_time_left_a_call_is_given_up(
    caller: BoundedCaller, gate: threading.Event
) -> None:
    with pytest.raises(DeadlineExceededError):
        caller.call(lambda: gate.wait(5), 0.0)
    gate.set()
