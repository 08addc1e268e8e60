"""JSON of the Invenio family: InvenioRDM itself, Zenodo's older form, CERN Open Data, CDS Videos."""

from __future__ import annotations

from typing import Any

from perdura.steps.mapping.dates import date, dated
from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.people import contributor, creator, name_identifier
from perdura.steps.mapping.report import Document
from perdura.steps.mapping.told import left, made
from perdura.steps.mapping.values import (
    funding,
    identifier,
    language,
    licence,
    one_text,
    related,
    resource_type,
    subject,
    version,
)
from perdura.steps.mapping.vocabularies import DESCRIPTION_TYPES, TITLE_TYPES

_RDM_SYSTEM = (
    "access", "created", "deletion_status", "expanded", "files", "id", "is_draft", "is_published", "links",
    "media_files", "parent", "revision_id", "stats", "status", "swh", "ui", "updated", "versions",
    "errors", "internal_notes",
)  # fmt: skip
"""Members of a record that describe nothing. What they say of access is kept and used elsewhere (docs/aip.md)."""
_ZENODO_SYSTEM = (
    "conceptrecid", "created", "files", "id", "links", "modified", "owner", "owners", "recid", "revision", "state",
    "stats", "status", "submitted", "updated", "metadata.access_right", "metadata.relations", "metadata.prereserve_doi",
)  # fmt: skip
_OPEN_DATA_SYSTEM = (
    "created", "id", "links", "revision", "updated", "files", "_files", "metadata.files", "metadata._files",
    "metadata.recid", "metadata._file_indices", "metadata.$schema", "metadata._deposit", "metadata._access",
    "metadata._oai", "metadata._cds", "recid", "_file_indices", "$schema", "_deposit", "_access", "_oai", "_cds",
)  # fmt: skip


def rdm(told: Any) -> Mapped:
    """A record of an InvenioRDM: most of it as it is, vocabulary values by id or as free text."""
    mapped = Mapped("InvenioRDM JSON", documents=[Document(told, _RDM_SYSTEM)])
    metadata = mapping(mapping(told).get("metadata"))
    for name in ("title", "description", "publisher", "copyright"):
        mapped.put(name, text(metadata.get(name)))
    mapped.put("version", version(metadata.get("version")))
    for name in ("sizes", "formats"):
        for value in items(metadata.get(name)):
            mapped.add(name, text(value))
    mapped.put("publication_date", date(metadata.get("publication_date")))
    mapped.put("resource_type", resource_type(_term(metadata.get("resource_type"))))
    for entry in map(mapping, items(metadata.get("creators"))):
        mapped.add("creators", _agent(entry, _term(entry.get("role"))))
    for entry in map(mapping, items(metadata.get("contributors"))):
        mapped.add("contributors", contributor(_agent(entry), _term(entry.get("role"))))
    for entry in map(mapping, items(metadata.get("rights"))):
        url = text(entry.get("link")) or mapping(entry.get("props")).get("url")
        title, note = (one_text(entry.get(name)) for name in ("title", "description"))
        mapped.add("rights", licence(title, url, entry.get("id"), note))
    for entry in items(metadata.get("languages")):
        mapped.add("languages", language(_term(entry)))
    for entry in map(mapping, items(metadata.get("subjects"))):
        mapped.add("subjects", subject(entry.get("subject")))
    mapped.add(
        "identifiers", identifier(mapping(mapping(mapping(told).get("pids")).get("doi")).get("identifier"), "doi")
    )
    for entry in map(mapping, items(metadata.get("identifiers"))):
        mapped.add("identifiers", identifier(entry.get("identifier"), entry.get("scheme")))
    for entry in map(mapping, items(metadata.get("related_identifiers"))):
        kind, relation = (_term(entry.get(name)) for name in ("resource_type", "relation_type"))
        mapped.add("related_identifiers", related(entry.get("identifier"), relation, entry.get("scheme"), kind))
    for entry in map(mapping, items(metadata.get("dates"))):
        mapped.add("dates", dated(entry.get("date"), _term(entry.get("type")), entry.get("description")))
    for entry in map(mapping, items(metadata.get("additional_titles"))):
        kind = _kind(entry, TITLE_TYPES, "alternative-title")
        mapped.title(text(entry.get("title")), kind, language(_term(entry.get("lang"))))
    for entry in map(mapping, items(metadata.get("additional_descriptions"))):
        kind = _kind(entry, DESCRIPTION_TYPES, "other")
        mapped.description(text(entry.get("description")), kind, language(_term(entry.get("lang"))))
    for entry in map(mapping, items(metadata.get("funding"))):
        mapped.add("funding", _funding(entry))
    for entry in map(mapping, items(mapping(metadata.get("locations")).get("features"))):
        mapped.place(text(entry.get("place")), text(entry.get("description")))
    for entry in map(mapping, items(metadata.get("references"))):
        mapped.reference(entry.get("reference"), identifier(entry.get("identifier"), entry.get("scheme")))
    return mapped


def _agent(entry: Any, role: Any = None) -> dict[str, Any] | None:
    who = mapping(entry.get("person_or_org"))
    kind = who.get("type")
    organisation = {"organizational": True, "personal": False}.get(text(kind) or "")
    found = [name_identifier(each.get("identifier"), each.get("scheme")) for each in _objects(who.get("identifiers"))]
    return creator(
        who.get("name"),
        family=who.get("family_name"),
        given=who.get("given_name"),
        organisation=organisation,
        kind=kind,
        identifiers=found,
        affiliations=[mapping(place).get("name") for place in items(entry.get("affiliations"))],
        role=role,
    )


def _term(value: Any) -> str | None:
    """The id of a value of a vocabulary; its titles say no more."""
    told = mapping(value)
    name = text(told.get("id"))
    return made(name, name, told.get("title")) if name else None


def _objects(value: Any) -> list[Any]:
    return [mapping(each) for each in items(value)]


def _kind(entry: Any, known: frozenset[str], fallback: str) -> str:
    kind = _term(entry.get("type"))
    if kind is not None and kind in known:
        return kind
    left(kind, f"No such type is known everywhere; it became {fallback}.")
    return fallback


def _funding(entry: Any) -> dict[str, Any] | None:
    funder, award = mapping(entry.get("funder")), mapping(entry.get("award"))
    if text(funder.get("name")) is None:
        left(entry, "The funder is known to the Source's own vocabulary only.")
    addresses = [each.get("identifier") for each in _objects(award.get("identifiers"))]
    return funding(funder.get("name"), award.get("number"), one_text(award.get("title")), next(iter(addresses), None))


def zenodo(told: Any) -> Mapped:
    """A record in Zenodo's older form: names as texts, `resource_type` of two words, `license.id`."""
    mapped = Mapped("Zenodo JSON", documents=[Document(told, _ZENODO_SYSTEM)])
    metadata = mapping(mapping(told).get("metadata"))
    mapped.put("title", text(metadata.get("title")))
    mapped.put("title", text(mapping(told).get("title")))
    mapped.put("description", text(metadata.get("description")))
    mapped.put("version", version(metadata.get("version")))
    mapped.put("publisher", text(metadata.get("imprint_publisher")) or "Zenodo")
    mapped.put("publication_date", date(metadata.get("publication_date")))
    kind = mapping(metadata.get("resource_type"))
    parts = [part for name in ("type", "subtype") if (part := text(kind.get(name)))]
    mapped.put("resource_type", resource_type(made("-".join(parts), *parts), *reversed(parts), kind.get("title")))
    for entry in map(mapping, items(metadata.get("creators"))):
        mapped.add("creators", _named(entry))
    for entry in map(mapping, items(metadata.get("contributors"))):
        mapped.add("contributors", contributor(_named(entry), entry.get("type")))
    right = metadata.get("license")
    mapped.add("rights", licence(text(right) or mapping(right).get("id")))
    mapped.add("languages", language(metadata.get("language")))
    for word in items(metadata.get("keywords")):
        mapped.add("subjects", subject(word))
    for entry in map(mapping, items(metadata.get("related_identifiers"))):
        value = related(entry.get("identifier"), entry.get("relation"), entry.get("scheme"), entry.get("resource_type"))
        mapped.add("related_identifiers", value)
    for reference in items(metadata.get("references")):
        mapped.reference(reference)
    mapped.description(text(metadata.get("notes")), "other")
    for grant in map(mapping, items(metadata.get("grants"))):
        mapped.add("funding", funding(mapping(grant.get("funder")).get("name"), grant.get("code"), grant.get("title")))
    for value in (metadata.get("doi"), mapping(told).get("doi"), mapping(told).get("doi_url")):
        mapped.add("identifiers", identifier(value, "doi"))
    mapped.add("related_identifiers", related(mapping(told).get("conceptdoi"), "isversionof", "doi"))
    return mapped


def _named(entry: Any) -> dict[str, Any] | None:
    return creator(
        entry.get("name"),
        identifiers=[name_identifier(entry.get(scheme), scheme) for scheme in ("orcid", "gnd")],
        affiliations=items(entry.get("affiliation")),
    )


def open_data(told: Any) -> Mapped:
    """A record of the CERN Open Data portal, with or without the envelope of its API."""
    mapped = Mapped("CERN Open Data JSON", documents=[Document(told, _OPEN_DATA_SYSTEM)])
    record = mapping(told[0] if isinstance(told, list) and told else told)
    metadata = mapping(record.get("metadata")) or record
    mapped.put("title", text(metadata.get("title")))
    mapped.put("description", text(mapping(metadata.get("abstract")).get("description")))
    mapped.put("publisher", text(metadata.get("publisher")))
    mapped.put("publication_date", date(metadata.get("date_published")))
    kind = mapping(metadata.get("type"))
    mapped.put("resource_type", resource_type(*items(kind.get("secondary")), kind.get("primary")))
    for entry in map(mapping, items(metadata.get("authors"))):
        found = name_identifier(entry.get("orcid"), "orcid")
        mapped.add("creators", creator(entry.get("name"), identifiers=[found]))
    collaboration = text(mapping(metadata.get("collaboration")).get("name"))
    mapped.add("creators", creator(collaboration, organisation=True))
    for value in items(metadata.get("date_created")):
        mapped.add("dates", dated(value, "created"))
    for name in ("experiment", "keywords", "accelerator", "run_period"):
        for value in items(metadata.get(name)):
            mapped.add("subjects", subject(value))
    mapped.add("rights", licence(mapping(metadata.get("license")).get("attribution")))
    mapped.add("identifiers", identifier(metadata.get("doi"), "doi"))
    for value in items(mapping(metadata.get("distribution")).get("formats")):
        mapped.add("formats", text(value))
    return mapped
