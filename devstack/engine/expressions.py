"""The part of CEL that triggers, cancellations, waits and keys are written in here.

Understood: ``event.data.x`` and ``async.data.x`` paths, string, number, boolean and null literals,
``==``, ``!=``, ``&&``, ``||`` and parentheses. Anything else is refused when it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
Evaluate = Callable[[Scope], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<path>(?:event|async)(?:\.[A-Za-z_]\w*)*)(?!\w)
    |(?P<string>"[^"\\]*"|'[^'\\]*')
    |(?P<number>-?\d+(?:\.\d+)?)(?![\w.])
    |(?P<word>true|false|null)(?!\w)
    |(?P<sign>==|!=|&&|\|\||[()]))""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


class ExpressionRefused(ValueError):
    """The expression is outside the part of CEL that the engine understands."""


def parse_expression(text: str) -> Evaluate:
    """A function from a scope (``event``, ``async``) to the value. A missing path is None."""
    parser = _Parser(text)
    evaluate = parser.either()
    if parser.tokens:
        raise ExpressionRefused(f"cannot parse {text!r}: unexpected {parser.tokens[0][1]!r}")
    return evaluate


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        text, at = text.rstrip(), 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ExpressionRefused(f"cannot parse {text!r}: not understood: {text[at:]!r}")
            self.tokens.append((match.lastgroup or "", match[0].strip()))
            at = match.end()

    def either(self) -> Evaluate:
        left = self.both()
        while self._take("||"):
            left = _or(left, self.both())
        return left

    def both(self) -> Evaluate:
        left = self.comparison()
        while self._take("&&"):
            left = _and(left, self.comparison())
        return left

    def comparison(self) -> Evaluate:
        left = self.operand()
        if self._take("=="):
            return _equals(left, self.operand())
        if self._take("!="):
            equal = _equals(left, self.operand())
            return lambda scope: not equal(scope)
        return left

    def operand(self) -> Evaluate:
        kind, token = self.tokens.pop(0) if self.tokens else ("end", "the end")
        if kind == "path":
            return _path(token.split("."))
        if kind == "sign" and token == "(":
            inner = self.either()
            if not self._take(")"):
                raise ExpressionRefused(f"cannot parse {self.text!r}: a ')' is missing")
            return inner
        return self._literal(kind, token)

    def _literal(self, kind: str, token: str) -> Evaluate:
        value: Any
        if kind == "string":
            value = token[1:-1]
        elif kind == "number":
            value = float(token) if "." in token else int(token)
        elif kind == "word":
            value = _WORDS[token]
        else:
            raise ExpressionRefused(f"cannot parse {self.text!r}: unexpected {token!r}")
        return lambda scope: value

    def _take(self, sign: str) -> bool:
        if self.tokens and self.tokens[0] == ("sign", sign):
            self.tokens.pop(0)
            return True
        return False


def _path(names: list[str]) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        value: Any = scope
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return evaluate


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda scope: left(scope) is True or right(scope) is True


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda scope: left(scope) is True and right(scope) is True


def _equals(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(scope: Scope) -> bool:
        a, b = left(scope), right(scope)
        # In CEL true is not 1, which in Python it is.
        return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)

    return evaluate
