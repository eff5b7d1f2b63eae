"""Faults that a stand-in commits on request, and the scripts that say when.

Every server of the embedded stack asks its ``FaultScript`` once per call, before it does anything.
A script answers with a ``Fault`` or with None, and keeps a record of the calls it was asked about,
so that a test can count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Cut = Literal["before", "after", "middle"]
"""Where the connection is cut: before the work is done, after it and before the answer, or in the
middle of the answer's body (with a Content-Length that promised all of it)."""


@dataclass(frozen=True)
class Call:
    """One request as a stand-in saw it.

    ``service`` is ``rest``, ``storage``, ``music``, ``stripe``, ``events`` (to the engine) or
    ``step`` (from the engine to the app). ``detail`` is what tells calls of one service apart:
    ``rpc/claim_variant``, ``orders``, an object's key, a step's name.
    """

    service: str
    method: str
    path: str
    detail: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call. Fields combine: a delay and then a status, say.

    ``status`` answers instead of doing the work, with ``headers`` and ``body``. ``cut`` drops the
    connection. ``delay_seconds`` waits first (and the work is done after it). ``replace_body``
    does the work and then answers 200 with ``body`` in place of the real one. ``truncate`` does
    the work and answers with the first half of the real body, as if that were all of it.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0
    cut: Cut | None = None
    replace_body: bool = False
    truncate: bool = False


Rule = Callable[[Call], Fault | None]


class FaultScript:
    """An ordered list of rules. The first rule that answers with a fault wins.

    Rules run on the event loop of the stack, one call at a time, so they may keep counters.
    """

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self.calls: list[Call] = []
        self.record = True

    def add(self, rule: Rule) -> None:
        self._rules.append(rule)

    def clear(self) -> None:
        """Forget every rule and every recorded call."""
        self._rules.clear()
        self.calls.clear()

    def fault_for(self, call: Call) -> Fault | None:
        if self.record:
            self.calls.append(call)
        for rule in self._rules:
            fault = rule(call)
            if fault is not None:
                return fault
        return None

    def count(self, service: str, detail: str = "") -> int:
        """How many recorded calls went to a service (and, where given, to that detail)."""
        return sum(c.service == service and detail in ("", c.detail) for c in self.calls)


def times(number: int, fault: Fault, matches: Callable[[Call], bool] = lambda call: True) -> Rule:
    """A rule that commits ``fault`` on the first ``number`` matching calls."""
    left = number

    def rule(call: Call) -> Fault | None:
        nonlocal left
        if left <= 0 or not matches(call):
            return None
        left -= 1
        return fault

    return rule


def always(fault: Fault, matches: Callable[[Call], bool] = lambda call: True) -> Rule:
    """A rule that commits ``fault`` on every matching call."""
    return lambda call: fault if matches(call) else None
