"""Indico events, RO-Crates, CERN's `sip.json`, and what Perdura itself knows of an Archive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.values import (
    creator,
    date,
    identifier,
    language,
    licence,
    related,
    resource_type,
)

_LATEST = 4_102_444_800
"""The year 2100 in seconds: later times are no times in seconds."""


def indico(told: Any) -> Mapped:
    """An event of Indico's export API."""
    mapped = Mapped("Indico JSON")
    event = mapping(next(iter(items(mapping(told).get("results"))), None))
    mapped.put("title", text(event.get("title")))
    mapped.put("description", text(event.get("description")))
    begin = date(mapping(event.get("startDate")).get("date"))
    end = date(mapping(event.get("endDate")).get("date"))
    mapped.put("publication_date", begin)
    if begin and end and begin < end:
        mapped.add("dates", {"date": f"{begin}/{end}", "type": {"id": "other"}, "description": "The event took place"})
    created = date(mapping(event.get("creationDate")).get("date"))
    mapped.add("dates", {"date": created, "type": {"id": "created"}} if created else None)
    mapped.put("resource_type", {"id": "event"})
    for who in map(mapping, [*items(event.get("chairs")), event.get("creator")]):
        name = who.get("fullName") or ", ".join(
            part for part in (text(who.get("last_name")), text(who.get("first_name"))) if part
        )
        mapped.add("creators", creator(name, affiliations=items(who.get("affiliation"))))
    for word in items(event.get("keywords")):
        mapped.add("subjects", {"subject": str(word)} if word else None)
    places = [text(event.get(name)) for name in ("location", "roomFullname", "address")]
    where = ", ".join(place for place in places if place)
    mapped.add(
        "additional_descriptions", {"description": f"Place: {where}", "type": {"id": "other"}} if where else None
    )
    mapped.add("related_identifiers", related(event.get("url"), "isderivedfrom"))
    for number, contribution in enumerate(map(mapping, items(event.get("contributions")))):
        mapped.miss(f"contributions.{number}", contribution.get("title"))
    known = {
        "_type", "_fossil", "id", "title", "description", "startDate", "endDate", "creationDate", "creator", "chairs",
        "keywords", "location", "roomFullname", "address", "url", "contributions", "timezone", "folders",
        "occurrences", "hasAnyProtection", "visibility", "roomMapURL", "type", "categoryId", "room", "material",
    }  # fmt: skip
    mapped.miss_others(event, known)
    return mapped


def ro_crate(told: Any) -> Mapped:
    """The root dataset of an RO-Crate (1.1 and 1.2), its people and its licence."""
    mapped = Mapped("RO-Crate")
    entities = {str(entity.get("@id")): entity for entity in map(mapping, items(mapping(told).get("@graph"))) if entity}
    descriptor = entities.get("ro-crate-metadata.json") or entities.get("ro-crate-metadata.jsonld") or {}
    root = entities.get(str(mapping(descriptor.get("about")).get("@id") or "./"), {})
    mapped.put("title", text(root.get("name")))
    mapped.put("description", text(root.get("description")))
    mapped.put("publication_date", date(root.get("datePublished")))
    mapped.put("version", text(root.get("version")))
    mapped.put("resource_type", resource_type(root.get("@type") if isinstance(root.get("@type"), str) else None))
    for who in items(root.get("author")) + items(root.get("creator")):
        mapped.add("creators", _crate_agent(_resolved(who, entities), entities))
    publisher = _resolved(root.get("publisher"), entities)
    mapped.put("publisher", text(publisher.get("name")))
    for entry in items(root.get("license")):
        found = _resolved(entry, entities)
        mapped.add("rights", licence(found.get("name") or found.get("@id"), found.get("url") or found.get("@id")))
    for word in items(root.get("keywords")):
        for part in str(word).split(","):
            mapped.add("subjects", {"subject": part.strip()} if part.strip() else None)
    for value in items(root.get("identifier")):
        found = _resolved(value, entities)
        mapped.add("identifiers", identifier(found.get("value") or found.get("@id")))
    mapped.add("languages", language(root.get("inLanguage")))
    known = {
        "@id", "@type", "name", "description", "datePublished", "version", "author", "creator", "publisher", "license",
        "keywords", "identifier", "inLanguage", "hasPart",
    }  # fmt: skip
    mapped.miss_others(root, known)
    return mapped


def _resolved(value: Any, entities: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if isinstance(value, str):
        return entities.get(value, {"@id": value, "name": value})
    told = mapping(value)
    return entities.get(str(told.get("@id")), told)


def _crate_agent(who: Mapping[str, Any], entities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    organisation = "Organization" in items(who.get("@type"))
    name = who.get("name")
    if who.get("familyName"):
        name = f"{who['familyName']}, {who.get('givenName') or ''}"
    places = [_resolved(place, entities).get("name") for place in items(who.get("affiliation"))]
    return creator(name, orcid=who.get("@id"), organisation=organisation, affiliations=places)


def sip_json(told: Any) -> Mapped:
    """CERN's `sip.json`: it describes the package; of the record it knows where it came from."""
    mapped = Mapped("sip.json")
    value = mapping(told)
    ours = mapping(value.get("perdura"))
    source, recid = text(value.get("source")), value.get("recid")
    mapped.put("title", text(ours.get("title")) or (f"{source} {recid}" if source and recid else None))
    mapped.add("related_identifiers", related(ours.get("url"), "isderivedfrom"))
    stamp = value.get("sip_creation_timestamp")
    if isinstance(stamp, int) and 0 < stamp < _LATEST:
        mapped.put("publication_date", datetime.fromtimestamp(stamp, UTC).date().isoformat())
    else:
        mapped.miss("sip_creation_timestamp", stamp, "It is no time in seconds.")
    mapped.miss("usr-meta", value.get("usr-meta"))
    return mapped


def short_description(metadata: Mapping[str, Any], title: str) -> Mapped:
    """What the registry itself knows of an Archive."""
    mapped = Mapped("registry")
    mapped.put("title", title or None)
    for name in items(metadata.get("creators")):
        mapped.add("creators", creator(mapping(name).get("name") or name))
    mapped.put("description", text(metadata.get("description")))
    mapped.put("publisher", text(metadata.get("publisher")))
    mapped.put("publication_date", date(metadata.get("publication_date")))
    mapped.put("resource_type", resource_type(metadata.get("resource_type")))
    mapped.put("version", text(metadata.get("version")))
    mapped.add("identifiers", identifier(metadata.get("doi"), "doi"))
    for entry in items(metadata.get("licence")):
        mapped.add("rights", licence(entry))
    mapped.add("related_identifiers", related(metadata.get("url"), "isderivedfrom"))
    for pair in items(metadata.get("bag_info")):
        _bag_info(mapped, pair)
    return mapped


def _bag_info(mapped: Mapped, pair: Any) -> None:
    match pair:
        case ["External-Description" | "Internal-Sender-Description", str(value)]:
            mapped.put("description", text(value))
        case ["Source-Organization" | "Organization", str(value)]:
            mapped.put("publisher", text(value))
        case ["Title", str(value)]:
            mapped.put("title", text(value))
        case ["Author" | "Creator", str(value)]:
            mapped.add("creators", creator(value))
        case _:
            return
