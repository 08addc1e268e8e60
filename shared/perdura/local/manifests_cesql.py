"""Whether an expression is CloudEvents SQL 1.0: its syntax only, for the manifest checker.

Grammar: cloudevents/spec `cesql/spec.md` §2. Keywords and function names are case-insensitive.
"""

from __future__ import annotations

import re

DEPTH_LIMIT = 100

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+)
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<symbol><=|>=|<>|!=|[=<>+\-*/%(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")
_RESERVED = frozenset(("AND", "OR", "XOR", "NOT", "IN", "LIKE", "EXISTS"))
_IDENTIFIER = re.compile(r"[a-z0-9]+\Z", re.IGNORECASE)
_END = ("end", "")


class BadExpression(ValueError):
    """The text is no CloudEvents SQL."""


def check_syntax(text: str) -> None:
    """Return if `text` is a CESQL expression. Raises BadExpression."""
    parser = _Parser(_tokens(text))
    parser.logical(0)
    if parser.peek() != _END:
        raise BadExpression(f"unexpected {parser.peek()[1]!r}")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None or match.lastgroup is None:
            raise BadExpression(f"unexpected character at {at}")
        value = match.group(match.lastgroup)
        upper = value.upper()
        kind = "symbol" if match.lastgroup == "word" and upper in _RESERVED else match.lastgroup
        tokens.append((kind, upper if kind == "symbol" else value))
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent, loosest operator first."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at = tokens, 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _take(self, *symbols: str) -> bool:
        kind, value = self.peek()
        if kind == "symbol" and value in symbols:
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise BadExpression(f"expected {symbol}, found {self.peek()[1]!r}")

    def logical(self, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise BadExpression("nested too deeply")
        self._comparison(depth)
        while self._take("AND", "OR", "XOR"):
            self._comparison(depth)

    def _comparison(self, depth: int) -> None:
        self._sum(depth)
        while True:
            if self._take(*_COMPARISONS):
                self._sum(depth)
                continue
            negated = self._take("NOT")
            if self._take("LIKE"):
                if self.peek()[0] != "string":
                    raise BadExpression("LIKE needs a string literal")
                self._at += 1
            elif self._take("IN"):
                self._expect("(")
                self._arguments(depth)
            elif negated:
                raise BadExpression("NOT needs LIKE or IN here")
            else:
                return

    def _sum(self, depth: int) -> None:
        self._product(depth)
        while self._take("+", "-"):
            self._product(depth)

    def _product(self, depth: int) -> None:
        self._unary(depth)
        while self._take("*", "/", "%"):
            self._unary(depth)

    def _unary(self, depth: int) -> None:
        if self._take("NOT"):
            return self._comparison(depth + 1) if depth < DEPTH_LIMIT else self.logical(depth + 1)
        while self._take("-"):
            continue
        return self._primary(depth)

    def _primary(self, depth: int) -> None:
        if self._take("EXISTS"):
            return self._identifier()
        if self._take("("):
            self.logical(depth + 1)
            return self._expect(")")
        kind, value = self.peek()
        if kind in ("number", "string"):
            self._at += 1
            return None
        if kind != "word":
            raise BadExpression(f"expected a value, found {value!r}" if value else "the expression ends early")
        self._at += 1
        if self._take("("):
            return None if self._take(")") else self._arguments(depth)
        self._at -= 1
        return self._identifier()

    def _identifier(self) -> None:
        kind, value = self.peek()
        if kind != "word" or not _IDENTIFIER.match(value):
            raise BadExpression(f"expected an attribute name, found {value!r}")
        self._at += 1

    def _arguments(self, depth: int) -> None:
        self.logical(depth + 1)
        while self._take(","):
            self.logical(depth + 1)
        self._expect(")")
