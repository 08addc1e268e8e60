"""Metadata of libraries: MARCXML (as Invenio 1 and OAI-PMH give it) and simple Dublin Core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from perdura.sources.marcxml import fields
from perdura.sources.markup import content
from perdura.steps.mapping.dates import date, dated
from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.people import contributor, creator, name_identifier
from perdura.steps.mapping.report import Document
from perdura.steps.mapping.told import left, made
from perdura.steps.mapping.values import doi, identifier, language, licence, resource_type, subject, version
from perdura.steps.mapping.xml_tree import words

DC = "{http://purl.org/dc/elements/1.1/}"
_ROLES = {
    "ed.": "editor", "ed": "editor", "edt": "editor", "editor": "editor", "dir.": "supervisor", "ths": "supervisor",
    "supervisor": "supervisor", "cph": "rightsholder", "pro": "producer", "res": "researcher", "dst": "distributor",
    "cur": "datacurator",
}  # fmt: skip
_MAKERS = frozenset(["author", "aut", "aut.", "creator", "cre", "collaboration"])
"""Words for the role that whoever is a creator has anyhow."""
_SYSTEM = (
    "leader", "001", "003", "005", "006", "007", "008", "856", "8564", "FFT", "960", "963", "916", "925", "961",
)  # fmt: skip
"""Fields about files and housekeeping of the Source, which are no description."""
_DC_SYSTEM = ("@schemaLocation",)


def fields_of(record: etree._Element) -> dict[str, Any]:
    """A MARC record by its tags: control fields are texts, data fields are lists of objects by their subfields."""
    found: dict[str, Any] = {}
    for element in record.iter("{*}leader", "leader"):
        found["leader"] = content(element)
    for element in record.iter("{*}controlfield", "controlfield"):
        found.setdefault(element.get("tag", ""), []).append(content(element))
    for field in fields(record):
        held: dict[str, list[str]] = {}
        for code, value in field.subfields:
            held.setdefault(code, []).append(value)
        found.setdefault(field.tag, []).append(held)
    return found


class _Field:
    """One data field that was told."""

    def __init__(self, tag: str, held: Mapping[str, Any]) -> None:
        self.tag, self._held = tag, held

    def all(self, codes: str) -> list[Any]:
        """Every text of some subfields."""
        return [value for code in codes for value in items(self._held.get(code)) if text(value)]

    def get(self, code: str) -> Any:
        """The first text of a subfield."""
        return next(iter(self.all(code)), None)


def marc(told: Mapping[str, Any]) -> Mapped:
    """A MARC record (its `fields_of`)."""
    mapped = Mapped("MARCXML", documents=[Document(told, _SYSTEM)])
    for tag, entries in told.items():
        for held in items(entries):
            if isinstance(held, Mapping):
                _put(mapped, _Field(tag, held))
    revised = text(next(iter(items(told.get("005"))), None))
    if revised and "publication_date" not in mapped.metadata:
        mapped.put("publication_date", date(str(revised[:4])))
    return mapped


def _put(mapped: Mapped, field: _Field) -> None:
    """Put one field where it belongs; what is left of it is reported."""
    value = field.get("a")
    match field.tag:
        case "245":
            parts = field.all("abnp")
            mapped.title(made(": ".join(parts), parts) if parts else None)
        case "246" | "242" | "210":
            parts = field.all("ab")
            kind = "translated-title" if field.tag == "242" else "alternative-title"
            if parts:
                mapped.further_title(made(": ".join(parts), parts), kind)
        case "100" | "700":
            _person(mapped, field)
        case "110" | "111" | "710" | "711":
            mapped.add("creators", creator(value or field.get("g"), organisation=True, affiliations=field.all("u")))
        case "260" | "269" | "264":
            for name in field.all("b"):
                mapped.publisher(name)
            for when in field.all("c"):
                _dated(mapped, when)
        case "520":
            for abstract in field.all("a"):
                mapped.description(abstract)
        case "500" | "505" | "590":
            kind = "table-of-contents" if field.tag == "505" else "other"
            for note in field.all("a"):
                mapped.description(note, kind)
        case "024":
            scheme = text(field.get("2"))
            known = scheme if (scheme or "").lower() == "doi" and doi(value) else None
            mapped.add("identifiers", identifier(value, known or "other"))
        case "037" | "088" | "020" | "022" | "035":
            for name in field.all("a"):
                mapped.add("identifiers", identifier(name, "other"))
        case "041":
            for name in field.all("a"):
                mapped.add("languages", language(name))
        case "650" | "653" | "693" | "695":
            for word in field.all("aexyz"):
                mapped.add("subjects", subject(word))
        case "540" | "542":
            mapped.add("rights", licence(value or field.get("f") or field.get("d"), field.get("u")))
        case "980":
            mapped.put("resource_type", resource_type(*field.all("ab")))
        case "250":
            for edition in field.all("a"):
                mapped.put("version", version(edition))
        case "300":
            parts = field.all("abce")
            mapped.add("sizes", made(", ".join(parts), parts) if parts else None)
        case "506" | "773" | "518" | "502":
            parts = field.all("abcdefghijklmnopqrstuvwxyz")
            mapped.note(_NOTES[field.tag], made(", ".join(parts), parts) if parts else None)


_NOTES = {"506": "Access", "773": "In", "518": "Held", "502": "Thesis"}


def _dated(mapped: Mapped, when: Any) -> None:
    """The first date is that of publication; others are dates of the record."""
    if "publication_date" in mapped.metadata:
        mapped.add("dates", dated(when, None))
    else:
        mapped.put("publication_date", date(when))


def _person(mapped: Mapped, field: _Field) -> None:
    told = field.get("e") or field.get("4")
    word = (told or "").lower()
    found = [name_identifier(value) for value in field.all("0j") if "orcid" in value.lower() or "isni" in value.lower()]
    who = creator(field.get("a"), identifiers=found, affiliations=field.all("u"))
    if who is None:
        return
    if not word or word in _MAKERS:
        if told:
            who["person_or_org"]["type"] = made(who["person_or_org"]["type"], who["person_or_org"]["type"], told)
        mapped.add("creators", who)
    elif word in _ROLES:
        mapped.add("contributors", {**who, "role": {"id": made(_ROLES[word], told)}})
    elif field.tag == "700":
        left(told, "No such role is known everywhere; whoever has it became a creator.")
        mapped.add("creators", who)
    else:
        mapped.add("creators", contributor(who, told))


def dublin_core(told: Mapping[str, Any]) -> Mapped:
    """An element with Dublin Core elements in it (a `tree`)."""
    mapped = Mapped("Dublin Core", documents=[Document(told, _DC_SYSTEM)])
    for name, value, tongue in _elements(told):
        match name:
            case "title":
                mapped.title(value, "alternative-title", language(tongue))
            case "creator":
                mapped.add("creators", creator(value))
            case "contributor":
                mapped.add("contributors", contributor(creator(value), "other"))
            case "description":
                mapped.description(value, "other" if "description" in mapped.metadata else "abstract", language(tongue))
            case "publisher":
                mapped.publisher(value)
            case "date":
                _dated(mapped, value)
            case "type":
                last = value.rpartition("/")[2]
                kind = resource_type(value) or resource_type(made(last, value))
                mapped.put("resource_type", kind, "The record has another resource type.")
            case "identifier":
                mapped.add("identifiers", identifier(value))
            case "language":
                mapped.add("languages", language(value))
            case "subject":
                mapped.add("subjects", subject(value))
            case "rights":
                mapped.add("rights", licence(value))
            case "format":
                mapped.add("formats", value)
            case "source" | "relation" | "coverage":
                mapped.note(name.capitalize(), value)
    return mapped


def _elements(told: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, text and language of each element."""
    for name, entries in told.items():
        for entry in items(entries):
            value = text(words(entry))
            if value and not name.startswith("@"):
                yield name, value, mapping(entry).get("@lang")
