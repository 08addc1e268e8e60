"""The table of rules and its page for people are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdura.packages.limits import LIMITS
from perdura.packages.rules import RULES

_DOCS = Path(__file__).parents[3] / "docs"
_PAGE = _DOCS / "package-rules.md"
_ROW = re.compile(r"\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.+) \|")


def test_the_page_is_the_table() -> None:
    rows = {found[1]: (found[2], found[3], found[4]) for found in _ROW.finditer(_PAGE.read_text())}
    assert rows == {code: (rule.severity, rule.clause, rule.message) for code, rule in RULES.items()}


@pytest.mark.parametrize("page", ["package-rules.md", "packages.md"])
def test_the_pages_name_every_limit_with_its_default(page: str) -> None:
    rows = dict(re.findall(r"\| `([a-z_]+)` \| ([0-9,]+|true|false) \|", (_DOCS / page).read_text()))
    defaults = {name: getattr(LIMITS, name) for name in LIMITS.__slots__}
    assert rows == {name: str(value).lower() if value is False else f"{value:,}" for name, value in defaults.items()}


def test_every_rule_is_a_sentence_with_a_clause() -> None:
    for code, rule in RULES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert rule.severity in ("warning", "invalid", "rejected")
        assert rule.clause
        assert rule.message.endswith((".", "./")), code
