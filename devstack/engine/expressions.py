"""The part of CEL that triggers, cancellations, waits and keys are written in here.

Understood: ``event.data.x`` and ``async.data.x`` paths, string, number, boolean and null literals,
``==``, ``!=``, ``&&``, ``||`` and parentheses. Anything else is refused when it is parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
Evaluate = Callable[[Scope], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<path>(?:event|async)(?:\.[A-Za-z_]\w*)*)(?![\w.])
    |(?P<string>"[^"\\]*"|'[^'\\]*')
    |(?P<literal>-?(?:0|[1-9]\d*)(?:\.\d+)?|true|false|null)(?![\w.])
    |(?P<sign>==|!=|&&|\|\||[()]))""",
    re.VERBOSE,
)


class ExpressionRefusedError(ValueError):
    """The expression is outside the part of CEL that the engine understands."""


def parse_expression(text: str) -> Evaluate:
    """A function from a scope (``event``, ``async``) to the value. A missing path is None."""
    parser = _Parser(text)
    evaluate = parser.either()
    if parser.tokens:
        raise parser.refusal(parser.tokens[0][1])
    return evaluate


class _Parser:
    """One method for each level of precedence, from the weakest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str | None, str]] = []
        rest = text.rstrip()
        while rest:
            match = _TOKEN.match(rest)
            if match is None:
                raise self.refusal(rest.lstrip())
            self.tokens.append((match.lastgroup, match[0].strip()))
            rest = rest[match.end() :]

    def refusal(self, at: str) -> ExpressionRefusedError:
        return ExpressionRefusedError(f"cannot understand {self.text!r} at {at or 'its end'!r}")

    def either(self) -> Evaluate:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda scope: any(p(scope) is True for p in parts)

    def _both(self) -> Evaluate:
        parts = [self._comparison()]
        while self._take("&&"):
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else lambda scope: all(p(scope) is True for p in parts)

    def _comparison(self) -> Evaluate:
        left = self._operand()
        for sign, wanted in (("==", True), ("!=", False)):
            if self._take(sign):
                right = self._operand()
                return lambda scope: _equal(left(scope), right(scope)) is wanted
        return left

    def _operand(self) -> Evaluate:
        kind, token = self.tokens.pop(0) if self.tokens else (None, "")
        if kind == "path":
            return _path(token.split("."))
        if kind == "sign" and token == "(":
            inner = self.either()
            if not self._take(")"):
                raise self.refusal(self.tokens[0][1] if self.tokens else "")
            return inner
        if kind in (None, "sign"):
            raise self.refusal(token)
        value = token[1:-1] if kind == "string" else json.loads(token)
        return lambda scope: value

    def _take(self, sign: str) -> bool:
        taken = bool(self.tokens) and self.tokens[0] == ("sign", sign)
        if taken:
            self.tokens.pop(0)
        return taken


def _path(names: list[str]) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        value: Any = scope
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return evaluate


def _equal(left: Any, right: Any) -> bool:
    # In CEL true is not 1, which in Python it is.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
