"""The table of rules and its page for people are the same."""

from __future__ import annotations

import re
from pathlib import Path

from perdura.packages.rules import RULES

_PAGE = Path(__file__).parents[3] / "docs/package-rules.md"
_ROW = re.compile(r"\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.+) \|")


def test_the_page_is_the_table() -> None:
    rows = {found[1]: (found[2], found[3], found[4]) for found in _ROW.finditer(_PAGE.read_text())}
    assert rows == {code: (rule.severity, rule.clause, rule.message) for code, rule in RULES.items()}


def test_every_rule_is_a_sentence_with_a_clause() -> None:
    for code, rule in RULES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert rule.severity in ("warning", "invalid", "rejected")
        assert rule.clause
        assert rule.message.endswith((".", "./")), code
