"""The report of what documents say and the record does not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perdura.steps.mapping.told import Text, sources_of, texts_in

SHOWN = 300
NO_PLACE = "There is no place for it in the record."
NO_DESCRIPTION = "This is about files and the Source's own system; it describes nothing."


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A value that found no place in the record: where it stood, how it began, and why."""

    path: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was told. `passed` are paths of members that do not describe; they are only named."""

    told: Any
    passed: Collection[str] = ()
    label: str = ""
    """What stands before its paths."""


def report(documents: Iterable[Document], record: Any) -> list[Unmapped]:
    """Every value of the documents of which no text in the record is made.

    Values that stand together and have one reason are one entry, as long as they can be shown whole.
    """
    arrived = {id(source) for source in sources_of(record)}
    return [entry for document in documents for entry in _of(document, arrived)]


def _of(document: Document, arrived: Collection[int]) -> Iterator[Unmapped]:
    passed = []
    for path, value in _members(document.told):
        for found in _left(path, value, document.passed, arrived):
            if found.path in document.passed:
                passed.append(found.path)
            else:
                yield Unmapped(document.label + found.path, found.value, found.reason)
    if passed:
        yield Unmapped(document.label + ", ".join(passed), "", NO_DESCRIPTION)


def _left(path: str, value: Any, passed: Collection[str], arrived: Collection[int]) -> Iterator[Unmapped]:
    texts = list(texts_in(value))
    lost = [text for text in texts if id(text) not in arrived]
    if not lost:
        return
    if path in passed:
        yield Unmapped(path, "", NO_DESCRIPTION)
    elif isinstance(value, Text):
        yield Unmapped(path, shown(value), value.reason or NO_PLACE)
    elif len(texts) > 1 and len(lost) == len(texts) and len({text.reason for text in lost}) == 1 and _short(value):
        yield Unmapped(path, _json(value), lost[0].reason or NO_PLACE)
    else:
        for name, inner in _members(value):
            yield from _left(f"{path}.{name}", inner, passed, arrived)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of an object or list; a list of one has no numbers."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, list) and len(inner) == 1:
                inner = inner[0]
            yield name, inner
    elif isinstance(value, list):
        yield from ((str(number), inner) for number, inner in enumerate(value))


def _short(value: Any) -> bool:
    return sum(map(len, texts_in(value))) <= SHOWN and len(_json(value)) <= SHOWN


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def shown(value: str) -> str:
    """As much of a value as a report shows."""
    return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
