"""JSON of the Invenio family: InvenioRDM itself, Zenodo's older form, CERN Open Data, CDS Videos."""

from __future__ import annotations

from typing import Any

from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.values import (
    DATE_TYPES,
    DESCRIPTION_TYPES,
    TITLE_TYPES,
    contributor,
    creator,
    date,
    identifier,
    language,
    licence,
    related,
    resource_type,
)

_SAME = ("title", "description", "publisher", "version", "copyright")
_LISTS = ("sizes", "formats")


def rdm(told: Any) -> Mapped:
    """A record of an InvenioRDM: most of it as it is, vocabulary values by id or as free text."""
    mapped = Mapped("InvenioRDM JSON")
    metadata = mapping(mapping(told).get("metadata"))
    for name in _SAME:
        mapped.put(name, text(metadata.get(name)))
    for name in _LISTS:
        for value in items(metadata.get(name)):
            mapped.add(name, text(value))
    mapped.put("publication_date", date(metadata.get("publication_date")))
    mapped.put("resource_type", resource_type(mapping(metadata.get("resource_type")).get("id")))
    for number, entry in enumerate(items(metadata.get("creators"))):
        mapped.add("creators", _agent(mapped, entry, f"metadata.creators.{number}"))
    for number, entry in enumerate(items(metadata.get("contributors"))):
        who = _agent(mapped, entry, f"metadata.contributors.{number}")
        mapped.add("contributors", contributor(who, mapping(mapping(entry).get("role")).get("id")))
    for entry in map(mapping, items(metadata.get("rights"))):
        title = mapping(entry.get("title")).get("en") or entry.get("id")
        mapped.add("rights", licence(title, entry.get("link") or mapping(entry.get("props")).get("url")))
    for entry in map(mapping, items(metadata.get("languages"))):
        mapped.add("languages", language(entry.get("id")))
    for entry in map(mapping, items(metadata.get("subjects"))):
        mapped.add("subjects", _subject(entry.get("subject")))
    for entry in map(mapping, items(metadata.get("identifiers"))):
        mapped.add("identifiers", identifier(entry.get("identifier"), entry.get("scheme")))
    for entry in map(mapping, items(metadata.get("related_identifiers"))):
        kind = mapping(entry.get("resource_type")).get("id")
        relation = mapping(entry.get("relation_type")).get("id")
        mapped.add("related_identifiers", related(entry.get("identifier"), relation, entry.get("scheme"), kind))
    for entry in map(mapping, items(metadata.get("dates"))):
        kind = mapping(entry.get("type")).get("id")
        _date(mapped, entry.get("date"), kind, entry.get("description"))
    for name in ("additional_titles", "additional_descriptions"):
        for entry in map(mapping, items(metadata.get(name))):
            _additional(mapped, name, entry)
    for number, entry in enumerate(map(mapping, items(metadata.get("funding")))):
        _funding(mapped, entry, f"metadata.funding.{number}")
    for entry in map(mapping, items(metadata.get("references"))):
        reference = text(entry.get("reference"))
        mapped.add("references", {"reference": reference} if reference else None)
    known = {
        *_SAME, *_LISTS, "publication_date", "resource_type", "creators", "contributors", "rights", "languages",
        "subjects", "identifiers", "related_identifiers", "dates", "additional_titles", "additional_descriptions",
        "funding", "references",
    }  # fmt: skip
    mapped.miss_others(metadata, known, "metadata.")
    mapped.miss("custom_fields", mapping(told).get("custom_fields"))
    return mapped


def _agent(mapped: Mapped, value: Any, where: str) -> dict[str, Any] | None:
    entry = mapping(value)
    who = mapping(entry.get("person_or_org"))
    organisation = who.get("type") == "organizational"
    name = who.get("name")
    if not organisation and who.get("family_name"):
        name = f"{who['family_name']}, {who.get('given_name') or ''}"
    orcid = None
    for told in map(mapping, items(who.get("identifiers"))):
        if told.get("scheme") == "orcid":
            orcid = told.get("identifier")
        else:
            mapped.miss(f"{where}.identifiers", told)
    places = [mapping(place).get("name") for place in items(entry.get("affiliations"))]
    return creator(name, orcid=orcid, organisation=organisation, affiliations=places, report=mapped)


def _subject(value: Any) -> dict[str, str] | None:
    subject = text(value)
    return {"subject": subject[:500]} if subject else None


def _date(mapped: Mapped, value: Any, kind: Any, note: Any = None) -> None:
    written = date(value)
    if written is None:
        mapped.miss("dates", value, "It is not a date.")
        return
    known = str(kind or "").lower()
    entry: dict[str, Any] = {"date": written, "type": {"id": known if known in DATE_TYPES else "other"}}
    if text(note):
        entry["description"] = text(note)
    mapped.add("dates", entry)


def _additional(mapped: Mapped, name: str, entry: Any) -> None:
    key = name.removeprefix("additional_").removesuffix("s")
    value, kind = text(entry.get(key)), mapping(entry.get("type")).get("id")
    known, fallback = (DESCRIPTION_TYPES, "other") if key == "description" else (TITLE_TYPES, "alternative-title")
    if not isinstance(kind, str) or kind not in known:
        mapped.miss(f"metadata.{name}.type", kind, f"No such type is known everywhere; it became {fallback}.")
        kind = fallback
    mapped.add(name, {key: value, "type": {"id": kind}} if value else None)


def _funding(mapped: Mapped, entry: Any, where: str) -> None:
    funder, award = mapping(entry.get("funder")), mapping(entry.get("award"))
    name = text(funder.get("name"))
    if name is None:
        mapped.miss(where, entry, "The funder is known to the Source's own vocabulary only.")
        return
    found: dict[str, Any] = {"funder": {"name": name}}
    title, number = text(mapping(award.get("title")).get("en")), text(award.get("number"))
    if title or number:
        found["award"] = {"title": {"en": title or number}, "number": number or title}
    mapped.add("funding", found)


def zenodo(told: Any) -> Mapped:
    """A record in Zenodo's older form: names as texts, `resource_type` of two words, `license.id`."""
    mapped = Mapped("Zenodo JSON")
    metadata = mapping(mapping(told).get("metadata"))
    for name in ("title", "description", "version"):
        mapped.put(name, text(metadata.get(name)))
    mapped.put("publisher", text(metadata.get("imprint_publisher")) or "Zenodo")
    mapped.put("publication_date", date(metadata.get("publication_date")))
    kind = mapping(metadata.get("resource_type"))
    parts = [str(kind.get(name)) for name in ("type", "subtype") if kind.get(name)]
    mapped.put("resource_type", resource_type("-".join(parts), *parts))
    for entry in map(mapping, items(metadata.get("creators"))):
        mapped.add("creators", _named(mapped, entry))
    for entry in map(mapping, items(metadata.get("contributors"))):
        mapped.add("contributors", contributor(_named(mapped, entry), entry.get("type")))
    mapped.add("rights", licence(mapping(metadata.get("license")).get("id") or metadata.get("license")))
    mapped.add("languages", language(metadata.get("language")))
    for word in items(metadata.get("keywords")):
        mapped.add("subjects", _subject(word))
    for entry in map(mapping, items(metadata.get("related_identifiers"))):
        value = related(entry.get("identifier"), entry.get("relation"), entry.get("scheme"))
        mapped.add("related_identifiers", value)
    for reference in items(metadata.get("references")):
        mapped.add("references", {"reference": text(reference)} if text(reference) else None)
    if notes := text(metadata.get("notes")):
        mapped.add("additional_descriptions", {"description": notes, "type": {"id": "other"}})
    for number, grant in enumerate(map(mapping, items(metadata.get("grants")))):
        funder = {"name": mapping(grant.get("funder")).get("name")}
        award = {"title": {"en": grant.get("title")}, "number": grant.get("code")}
        _funding(mapped, {"funder": funder, "award": award}, f"metadata.grants.{number}")
    mapped.add("identifiers", identifier(metadata.get("doi"), "doi"))
    known = {
        "title", "description", "version", "imprint_publisher", "publication_date", "resource_type", "creators",
        "contributors", "license", "language", "keywords", "related_identifiers", "references", "notes", "grants",
        "doi", "access_right", "relations",
    }  # fmt: skip
    mapped.miss_others(metadata, known, "metadata.")
    return mapped


def _named(mapped: Mapped, entry: Any) -> dict[str, Any] | None:
    places = items(entry.get("affiliation"))
    return creator(entry.get("name"), orcid=entry.get("orcid"), affiliations=places, report=mapped)


def open_data(told: Any) -> Mapped:
    """A record of the CERN Open Data portal, with or without the envelope of its API."""
    mapped = Mapped("CERN Open Data JSON")
    record = mapping(told[0] if isinstance(told, list) and told else told)
    metadata = mapping(record.get("metadata")) or record
    mapped.put("title", text(metadata.get("title")))
    mapped.put("description", text(mapping(metadata.get("abstract")).get("description")))
    mapped.put("publisher", text(metadata.get("publisher")))
    mapped.put("publication_date", date(metadata.get("date_published")))
    kind = mapping(metadata.get("type"))
    mapped.put("resource_type", resource_type(*items(kind.get("secondary")), kind.get("primary")))
    for entry in map(mapping, items(metadata.get("authors"))):
        mapped.add("creators", creator(entry.get("name"), orcid=entry.get("orcid"), report=mapped))
    collaboration = text(mapping(metadata.get("collaboration")).get("name"))
    mapped.add("creators", creator(collaboration, organisation=True))
    for value in items(metadata.get("date_created")):
        _date(mapped, value, "created")
    for name in ("experiment", "keywords", "accelerator", "run_period"):
        for value in items(metadata.get(name)):
            mapped.add("subjects", _subject(value))
    mapped.add("rights", licence(mapping(metadata.get("license")).get("attribution")))
    mapped.add("identifiers", identifier(metadata.get("doi"), "doi"))
    for value in items(mapping(metadata.get("distribution")).get("formats")):
        mapped.add("formats", text(value))
    known = {
        "title", "abstract", "publisher", "date_published", "type", "authors", "collaboration", "date_created",
        "experiment", "keywords", "accelerator", "run_period", "license", "doi", "distribution", "files", "recid",
        "_file_indices", "$schema",
    }  # fmt: skip
    mapped.miss_others(metadata, known)
    return mapped
