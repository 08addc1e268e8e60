"""Text of strangers, made fit to be recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from perdura.recordable import recordable, storable, text


@dataclass(frozen=True, slots=True)
class Told:
    """A value with texts in it."""

    said: str
    more: tuple[Any, ...] = ()


def test_what_cannot_be_recorded_is_replaced_one_by_one() -> None:
    assert text("a\x00b\ud83d\udc00 ü \U0001f600\n") == "a\ufffdb\ufffd\ufffd ü \U0001f600\n"


@pytest.mark.parametrize(
    ("value", "fit"), [("", True), ("ü\n\U0001f600", True), ("a\x00", False), ("\ud83d", False), ("a\udfffb", False)]
)
def test_what_can_be_recorded_is_told_apart(value: str, fit: bool) -> None:
    assert (storable(value), text(value) == value) == (fit, fit)


@pytest.mark.parametrize("value", ["plain", {"a": ["ü", 1, None]}, (1, "b"), Told("ü", ({"k": "v"},)), 3, b"\x00"])
def test_what_is_fit_stays_the_very_same(value: object) -> None:
    assert recordable(value) is value


def test_every_text_is_reached() -> None:
    bad, good = "\x00", "\ufffd"
    assert recordable({bad: [bad, (bad,)]}) == {good: [good, (good,)]}
    assert recordable(Told(bad, (Told("ü", (bad,)),))) == Told(good, (Told("ü", (good,)),))
