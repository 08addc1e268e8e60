"""Which Archives are wanted: the criteria of every list, export, bulk job and collection, as conditions of SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, exists, false, func, literal_column, or_
from sqlalchemy.dialects.postgresql import ARRAY

from perdura.api.queries import accents
from perdura.outcome import StepState
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.tables import CollectionMember

_APART = re.compile(
    r"[\u0000-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf"
    r"\u2000-\u206f\u3000-\u3003\u3008-\u3020\u3030]+"
)
"""What parts words: the same as in `archive_words` of the database."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """All that are given have to hold; of several values of one, any, except that every `steps` has to hold.

    `steps` are `name` or `name:state`; dates are days in UTC, both included; sizes are bytes, both included.
    """

    states: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    collection: UUID | None = None
    created_from: date | None = None
    created_to: date | None = None
    size_min: int | None = None
    size_max: int | None = None
    text: str | None = None

    @property
    def countable(self) -> bool:
        """Whether counters answer how many there are: nothing is asked for that they do not know."""
        return self == replace(
            Criteria(), states=self.states, sources=self.sources, origins=self.origins, causes=self.causes
        )

    @property
    def phrased(self) -> bool:
        """Whether words are looked for that have to stand in a row, as those of an identifier do."""
        return any(len(words) > 1 for words in _terms(self.text or ""))

    @property
    def empty(self) -> bool:
        """Whether every Archive is wanted."""
        return self == Criteria()


def conditions(criteria: Criteria) -> list[ColumnElement[bool]]:
    """The criteria as conditions on `archive_index`."""
    index = ArchiveIndex
    found: list[ColumnElement[bool]] = []
    for column, values in (
        (index.state, criteria.states),
        (index.source, criteria.sources),
        (index.origin, criteria.origins),
        (index.cause, criteria.causes),
    ):
        if values:
            found.append(column.in_(values) if len(values) > 1 else column == values[0])
    for step in criteria.steps:
        ways = [step] if ":" in step else [f"{step}:{state}" for state in StepState]
        found.append(index.steps.op("&&")(_texts(ways)))
    if criteria.causes:
        found.append(index.cause != literal_column("''"))
    if criteria.formats:
        found.append(index.formats.op("&&")(_texts(criteria.formats)))
    if criteria.collection is not None:
        found.append(
            exists().where(
                CollectionMember.collection_id == criteria.collection, CollectionMember.archive_id == index.archive_id
            )
        )
    if criteria.created_from is not None:
        found.append(index.created_at >= _midnight(criteria.created_from))
    if criteria.created_to is not None:
        found.append(index.created_at <= datetime.combine(criteria.created_to, time.max, UTC))
    if criteria.size_min is not None:
        found.append(index.size >= criteria.size_min)
    if criteria.size_max is not None:
        found.append(index.size <= criteria.size_max)
    if criteria.text is not None and criteria.text.strip():
        found.append(matches(criteria.text.strip()))
    return found


def _texts(values: Sequence[str]) -> ColumnElement[Any]:
    return cast(list(values), ARRAY(Text))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def matches(text: str, *, shown: bool = False) -> ColumnElement[bool]:
    """Archives whose texts have a word beginning with each term of `text`, or whose id or recid it is; none without.

    With `shown` only those texts count that the access pages show.
    A term of several words, as an identifier is one (`10.5281/zenodo.123`), has to stand there as it is up to the
    beginning of its last word.
    """
    weight = "A" if shown else ""
    terms = " & ".join(_phrase(words, weight) for words in _terms(text))
    ways: list[ColumnElement[bool]] = []
    if terms:
        vector: ColumnElement[Any] = ArchiveIndex.search.expression
        ways.append(vector.bool_op("@@")(func.to_tsquery(literal_column("'simple'"), terms)))
    if not any(character.isspace() for character in text):
        ways.append((ArchiveIndex.recid == text) & (ArchiveIndex.recid != literal_column("''")))
    with suppress(ValueError):
        ways.append(ArchiveIndex.archive_id == UUID(text))
    return or_(false(), *ways)


def _terms(text: str) -> list[list[str]]:
    """The words of each term that has some, without accents, as `archive_words` takes them."""
    return [words for term in accents.bare(text).split() if (words := [word for word in _APART.split(term) if word])]


def _phrase(words: Sequence[str], weight: str) -> str:
    """Words in a row, in the language of `to_tsquery`; none holds a quote."""
    exactly = f":{weight}" if weight else ""
    return " <-> ".join([*(f"'{word}'{exactly}" for word in words[:-1]), f"'{words[-1]}':*{weight}"])
