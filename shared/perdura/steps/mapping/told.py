"""Documents whose texts know what became of them, so that whatever did not come into the record can be told.

A document is read with `tell`: every value in it becomes a `Text`. The readers put these into the record, or texts
`made` of them. At the end the values that stand behind no text of the record are those that were left out, however
that came about: overlooked, unreadable, too long, told twice, or taken out again (`report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

MOST_VALUES = 200_000
"""Values of one document that are read; the author lists of the largest collaborations need half of it."""
DEEPEST = 60


class Text(str):
    """A text, the values of documents that it says (`sources`; none: it is one itself), and why it is left out."""

    __slots__ = ("reason", "sources")
    sources: tuple[Text, ...]
    reason: str

    def __new__(cls, value: str, sources: Iterable[Text] = ()) -> Text:
        """A value of a document, or what was made of some."""
        made = super().__new__(cls, value)
        made.sources, made.reason = tuple(sources), ""
        return made


def tell(value: Any) -> Any:
    """A value of JSON with each text, number and truth in it as a `Text`; raises ValueError for a document too large.

    Texts lose the white space around them, and are nothing when that was all.
    """
    return _told(value, count(), 0)


def _told(value: Any, seen: Iterator[int], depth: int) -> Any:
    if depth > DEEPEST or next(seen) > MOST_VALUES:
        raise ValueError("too many values, or too deep ones")
    if isinstance(value, str):
        return Text(value.strip()) if value.strip() else None
    if isinstance(value, Mapping):
        return {str(name): _told(inner, seen, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_told(inner, seen, depth + 1) for inner in value]
    if isinstance(value, bool):
        return Text(str(value).lower())
    return None if value is None else Text(str(value))


def texts_in(value: Any) -> Iterator[Text]:
    """Every `Text` in a value."""
    if isinstance(value, Text):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)


def sources_of(value: Any) -> Iterator[Text]:
    """The values of documents that stand behind the texts in a value."""
    for found in texts_in(value):
        yield from found.sources or (found,)


def made(value: str, *sources: Any) -> Text:
    """A text that says, in another form, all that the sources say."""
    return Text(value, sources_of(sources))


def left(value: Any, reason: str) -> None:
    """Note why a value is left out, or taken in part only; the first reason counts."""
    for source in sources_of(value):
        source.reason = source.reason or reason


def joined(kept: Any, other: Any) -> None:
    """Let the texts of a value that is kept say what the same texts of an equal value say."""
    if isinstance(kept, Text):
        kept.sources = (*(kept.sources or (kept,)), *sources_of(other))
    elif isinstance(kept, Mapping):
        for name, inner in kept.items():
            joined(inner, other[name])
    elif isinstance(kept, list):
        for inner, same in zip(kept, other, strict=True):
            joined(inner, same)


def cut(value: str, most: int) -> str:
    """As much of a text as fits, with a note of what does not."""
    if len(value) <= most:
        return value
    left(value, f"Only its first {most} characters fit.")
    return str(value[:most])
