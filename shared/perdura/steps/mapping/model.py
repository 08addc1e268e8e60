"""The result of mapping: metadata in InvenioRDM's form, and the documents they are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perdura.steps.mapping.report import Document, Unmapped, report
from perdura.steps.mapping.told import Text, joined, left, made, sources_of, texts_in

SHORTEST = 3
"""Characters below which InvenioRDM takes no title and no description."""
_TOO_SHORT = "A record takes no title and no description so short."
_ALIKE = {
    "contributors": "creators", "additional_titles": "title", "additional_descriptions": "description",
    "dates": "publication_date",
}  # fmt: skip
"""Fields that may say the same as another."""
_UNITED = frozenset(["identifiers", "related_identifiers", "subjects", "languages", "references"])
"""Lists in which entries of several documents stand side by side; in others they would be told twice."""
_MARKS = re.compile(r"<[^>]*>|[\W_]+")


@dataclass
class Mapped:
    """Metadata being collected. Nothing is put twice, nothing empty is kept, nothing is dropped in silence."""

    form: str
    metadata: dict[str, Any] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    unread: list[Unmapped] = field(default_factory=list)
    """Documents that told nothing."""

    def put(self, name: str, value: Any, otherwise: str = "The record has another value for it.") -> None:
        """Set a field, unless there is nothing to set or it has a value: then it says the same, or is left out."""
        if value in (None, "", [], {}):
            return
        if name not in self.metadata:
            self.metadata[name] = value
        elif self.metadata[name] == value:
            joined(self.metadata[name], value)
        else:
            _compare(self._said(name), value, otherwise)

    def add(self, name: str, value: Any) -> None:
        """Append to a list field what is not in it yet."""
        if value in (None, "", [], {}):
            return
        values = self.metadata.setdefault(name, [])
        if value in values:
            joined(values[values.index(value)], value)
        elif name == "identifiers" and any(value["identifier"] == kept["identifier"] for kept in values):
            _compare(self._said(name), value, "The record has this identifier with another scheme.")
        else:
            values.append(value)

    def title(self, value: Any, kind: str = "alternative-title", language: Any = None) -> None:
        """The title, or one more of them."""
        if "title" not in self.metadata:
            self.put("title", value)
        elif value is not None and value != self.metadata["title"]:
            self._more("title", value, kind, language)
        else:
            self.put("title", value)

    def further_title(self, value: Any, kind: str) -> None:
        """A title beside the title."""
        self._more("title", value, kind, None)

    def description(self, value: Any, kind: str = "abstract", language: Any = None) -> None:
        """The description, when it is the first abstract, or one more of them."""
        if kind == "abstract" and "description" not in self.metadata:
            self.put("description", made(value, value, kind) if value else None)
        elif value is not None:
            self._more("description", value, kind, language)

    def publisher(self, value: Any) -> None:
        """The publisher; the record has one, others are noted."""
        if "publisher" in self.metadata and value not in (None, self.metadata["publisher"]):
            self.note("Publisher", value)
        else:
            self.put("publisher", value)

    def note(self, label: str, value: Any) -> None:
        """A further description for a text that has no field of its own."""
        if isinstance(value, str):
            self.description(made(f"{label}: {value}", value), "other")

    def place(self, name: Any, note: Any = None) -> None:
        """Somewhere that the record is about, by its name or by a note of where it lies."""
        entry = {key: value for key, value in (("place", text(name)), ("description", text(note))) if value}
        if entry:
            self.metadata.setdefault("locations", {"features": []})["features"].append(entry)

    def reference(self, value: Any, known: Any = None) -> None:
        """A work that is cited, as text; `known` is its identifier with the scheme."""
        if text(value):
            self.add("references", {**(known or {}), "reference": text(value)})

    def _more(self, name: str, value: str, kind: str, language: Any) -> None:
        if len(value) < SHORTEST:
            left(value, _TOO_SHORT)
            return
        entry = {name: value, "type": {"id": kind}}
        self.add(f"additional_{name}s", {**entry, "lang": language} if language else entry)

    def take(self, other: Mapped) -> None:
        """Fill gaps from a poorer description; what it says otherwise is left out."""
        otherwise = f"{self.form} tells more, and otherwise."
        for name, value in other.metadata.items():
            if name not in self.metadata:
                self.metadata[name] = value
                continue
            said = self._said(name)
            for entry in value if isinstance(value, list) else [value]:
                if name not in _UNITED:
                    _compare(said, entry, otherwise)
                elif entry in self.metadata[name] or not _compare(said, entry, ""):
                    self.add(name, entry)
        self.documents += other.documents

    def report(self, record: Any) -> list[Unmapped]:
        """What the documents say, and a record that was made of these metadata does not."""
        return [*self.unread, *report(self.documents, record)]

    def _said(self, name: str) -> dict[str, Text]:
        return dict(self._sayings(name))

    def _sayings(self, name: str) -> Iterator[tuple[str, Text]]:
        """The texts of a field and those like it, by what they say; dates also by less exact ones."""
        kind = _ALIKE.get(name, name)
        for field_name, value in self.metadata.items():
            if _ALIKE.get(field_name, field_name) != kind:
                continue
            for entry in value if isinstance(value, list) else [value]:
                who = mapping(mapping(entry).get("person_or_org"))
                family, given = who.get("family_name"), who.get("given_name")
                if isinstance(family, Text) and given:
                    yield plain(family + given), family
                    yield plain(given + family), family
                for text in texts_in(entry):
                    yield plain(text), text
                    if kind == "publication_date":
                        yield from ((plain(text[:size]), text) for size in (4, 7))


def _compare(said: Mapping[str, Text], value: Any, otherwise: str) -> bool:
    """Let the texts of a field (`said`) say what equal ones of `value` say; False when some are said by none."""
    found = {id(text): said.get(plain(text)) for text in texts_in(value)}
    unsaid = {id(source) for text in texts_in(value) if found[id(text)] is None for source in sources_of(text)}
    for text in texts_in(value):
        match = found[id(text)]
        if match is None and otherwise:
            left(text, otherwise)
        elif match is not None:
            match.sources = (
                *(match.sources or (match,)),
                *(source for source in sources_of(text) if id(source) not in unsaid),
            )
    return not unsaid


def plain(value: str) -> str:
    """What a text says, whatever its case, its punctuation and its tags."""
    return _MARKS.sub("", value).casefold() or value


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, when it is a JSON object; an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """The value as a list: itself, alone, or nothing."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def text(value: Any) -> str | None:
    """The value as a text without white space around it; None for anything else."""
    if isinstance(value, Text):
        return value
    return value.strip() or None if isinstance(value, str) else None
