"""DataCite: its JSON (as the REST API and content negotiation give it) and its XML, kernels 3 and 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    related,
    resource_type,
    subject,
    version,
)
from perdura.steps.mapping.xml_tree import words

KERNEL = "http://datacite.org/schema/kernel-"
_ATTRIBUTES = (
    "schemaVersion", "state", "xml", "prefix", "suffix", "created", "registered", "updated", "published", "isActive",
    "metadataVersion", "source", "reason", "viewCount", "downloadCount", "citationCount", "referenceCount",
    "viewsOverTime", "downloadsOverTime", "citationsOverTime", "partCount", "partOfCount", "versionCount",
    "versionOfCount", "@schemaLocation",
)  # fmt: skip
_ENVELOPE = ("data.id", "data.type", "data.relationships", "id", "type", "relationships")
_SYSTEM = (
    *_ENVELOPE,
    *(f"{before}{name}" for before in ("", "attributes.", "data.attributes.") for name in _ATTRIBUTES),
)
"""Members that describe nothing."""
_DESCRIPTIONS = {
    "methods": "methods", "seriesinformation": "series-information", "tableofcontents": "table-of-contents",
    "technicalinfo": "technical-info", "other": "other", "abstract": "abstract",
}  # fmt: skip
_TITLES = {
    "alternativetitle": "alternative-title", "subtitle": "subtitle", "translatedtitle": "translated-title",
    "other": "other",
}  # fmt: skip


def datacite_json(told: Any) -> Mapped:
    """DataCite JSON, with or without the envelope of JSON:API."""
    mapped = Mapped("DataCite JSON", documents=[Document(told, _SYSTEM)])
    value = mapping(told)
    _fill(mapped, mapping(mapping(value.get("data")).get("attributes")) or mapping(value.get("attributes")) or value)
    return mapped


def _fill(mapped: Mapped, value: Mapping[str, Any]) -> None:
    titles = [mapping(title) for title in items(value.get("titles"))]
    for title in sorted(titles, key=lambda title: text(title.get("titleType")) is not None):
        _title(mapped, title)
    for entry in map(mapping, items(value.get("creators"))):
        mapped.add("creators", _agent(entry))
    for entry in map(mapping, items(value.get("contributors"))):
        mapped.add("contributors", contributor(_agent(entry), entry.get("contributorType")))
    publisher = value.get("publisher")
    mapped.put("publisher", text(mapping(publisher).get("name")) or text(publisher))
    types = mapping(value.get("types"))
    mapped.put("resource_type", resource_type(types.get("resourceType"), types.get("resourceTypeGeneral")))
    for entry in map(mapping, items(value.get("dates"))):
        _dated(mapped, entry)
    mapped.put("publication_date", date(value.get("publicationYear")))
    for entry in map(mapping, items(value.get("descriptions"))):
        _described(mapped, entry)
    for entry in map(mapping, items(value.get("rightsList"))):
        mapped.add("rights", licence(entry.get("rights"), entry.get("rightsUri"), entry.get("rightsIdentifier")))
    for entry in items(value.get("subjects")):
        mapped.add("subjects", subject(mapping(entry).get("subject") or entry))
    for entry in map(mapping, items(value.get("relatedIdentifiers"))):
        mapped.add("related_identifiers", _related(entry, entry.get("relatedIdentifier"), "relatedIdentifierType"))
    for entry in map(mapping, items(value.get("relatedItems"))):
        found = entry.get("relatedItemIdentifier")
        scheme = mapping(found) if isinstance(found, Mapping) else entry
        named = text(found) or scheme.get("relatedItemIdentifier")
        told_so = {**entry, **scheme, "resourceTypeGeneral": entry.get("relatedItemType")}
        mapped.add("related_identifiers", _related(told_so, named, "relatedItemIdentifierType"))
    mapped.add("related_identifiers", related(value.get("url"), "isderivedfrom"))
    mapped.add("identifiers", identifier(value.get("doi"), "doi"))
    for entry in map(mapping, [*items(value.get("identifiers")), *items(value.get("alternateIdentifiers"))]):
        name = "identifier" if text(entry.get("identifier")) else "alternateIdentifier"
        mapped.add("identifiers", identifier(entry.get(name), entry.get(f"{name}Type")))
    mapped.add("languages", language(value.get("language")))
    mapped.put("version", version(value.get("version")))
    for name in ("sizes", "formats"):
        for item in items(value.get(name)):
            mapped.add(name, text(item))
    for entry in map(mapping, items(value.get("fundingReferences"))):
        award = (entry.get(name) for name in ("awardNumber", "awardTitle", "awardUri"))
        mapped.add("funding", funding(entry.get("funderName"), *award))
    for entry in map(mapping, items(value.get("geoLocations"))):
        _place(mapped, entry)


def _agent(entry: Any) -> dict[str, Any] | None:
    kind = entry.get("nameType")
    found = [
        name_identifier(each.get("nameIdentifier"), each.get("nameIdentifierScheme"), each.get("schemeUri"))
        for each in map(mapping, items(entry.get("nameIdentifiers")))
    ]
    return creator(
        entry.get("name"),
        family=entry.get("familyName"),
        given=entry.get("givenName"),
        organisation={"Organizational": True, "Personal": False}.get(text(kind) or ""),
        kind=kind,
        identifiers=found,
        affiliations=[text(mapping(place).get("name")) or text(place) for place in items(entry.get("affiliation"))],
    )


def _title(mapped: Mapped, title: Mapping[str, Any]) -> None:
    told = text(title.get("titleType"))
    known = _TITLES.get((told or "").lower())
    if told and not known:
        left(told, "No such type is known everywhere; it became alternative-title.")
    kind = made(known, told) if known else "alternative-title"
    mapped.title(text(title.get("title")), kind, language(title.get("lang")))


def _dated(mapped: Mapped, entry: Mapping[str, Any]) -> None:
    kind = text(entry.get("dateType"))
    if (kind or "").lower() == "issued" and "publication_date" not in mapped.metadata:
        written = date(entry.get("date"))
        mapped.put("publication_date", made(written, written, kind) if written else None)
    else:
        mapped.add("dates", dated(entry.get("date"), kind, entry.get("dateInformation")))


def _described(mapped: Mapped, entry: Mapping[str, Any]) -> None:
    told = text(entry.get("descriptionType"))
    known = _DESCRIPTIONS.get((told or "abstract").lower())
    if known is None:
        left(told, "No such type is known everywhere; it became other.")
    kind = made(known, told) if known else "other"
    mapped.description(text(entry.get("description")), kind, language(entry.get("lang")))


def _related(entry: Mapping[str, Any], value: Any, scheme: str) -> dict[str, Any] | None:
    return related(value, entry.get("relationType"), entry.get(scheme), entry.get("resourceTypeGeneral"))


def _place(mapped: Mapped, entry: Mapping[str, Any]) -> None:
    """A place by its name; where it lies is told in words."""
    told = [(name, value) for name, value in entry.items() if name != "geoLocationPlace"]
    where = "; ".join(f"{name.removeprefix('geoLocation')}: {_coordinates(value)}" for name, value in told if value)
    mapped.place(entry.get("geoLocationPlace"), made(where, told) if where else None)


def _coordinates(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_coordinates(inner)}" for name, inner in value.items() if inner)
    return " ".join(map(_coordinates, value)) if isinstance(value, list) else str(value or "")


def datacite_xml(resource: Any) -> Mapped:
    """The `resource` of kernel 3 or 4 (a `tree`), as the JSON that DataCite itself makes of it."""
    kind = mapping(next(_children(resource, "resourceType"), None))
    told: dict[str, Any] = {
        "titles": list(_told(resource, "titles", "title", titleType="titleType", lang="lang")),
        "creators": [_who(each, "creatorName") for each in _inner(resource, "creators", "creator")],
        "contributors": [
            {**_who(each, "contributorName"), "contributorType": mapping(each).get("@contributorType")}
            for each in _inner(resource, "contributors", "contributor")
        ],
        "types": {"resourceType": words(kind), "resourceTypeGeneral": kind.get("@resourceTypeGeneral")},
        "dates": list(_told(resource, "dates", "date", dateType="dateType", dateInformation="dateInformation")),
        "subjects": list(_told(resource, "subjects", "subject")),
        "rightsList": list(
            _told(resource, "rightsList", "rights", rightsUri="rightsURI", rightsIdentifier="rightsIdentifier")
        ),
        "descriptions": list(
            _told(resource, "descriptions", "description", descriptionType="descriptionType", lang="lang")
        ),
        "relatedIdentifiers": list(
            _told(
                resource,
                "relatedIdentifiers",
                "relatedIdentifier",
                relationType="relationType",
                relatedIdentifierType="relatedIdentifierType",
                resourceTypeGeneral="resourceTypeGeneral",
            )
        ),
        "relatedItems": list(map(_item, _inner(resource, "relatedItems", "relatedItem"))),
        "identifiers": [
            {"identifier": words(each), "identifierType": mapping(each).get("@identifierType")}
            for each in _children(resource, "identifier")
        ],
        "alternateIdentifiers": list(
            _told(
                resource,
                "alternateIdentifiers",
                "alternateIdentifier",
                alternateIdentifierType="alternateIdentifierType",
            )
        ),
        "fundingReferences": list(map(_funder, _inner(resource, "fundingReferences", "fundingReference"))),
        "geoLocations": list(map(_geo, _inner(resource, "geoLocations", "geoLocation"))),
        "sizes": [words(each) for each in _inner(resource, "sizes", "size")],
        "formats": [words(each) for each in _inner(resource, "formats", "format")],
    }
    for name in ("publisher", "publicationYear", "language", "version"):
        told[name] = words(next(_children(resource, name), None))
    mapped = Mapped("DataCite XML", documents=[Document(resource, _SYSTEM)])
    _fill(mapped, told)
    return mapped


def _children(element: Any, name: str) -> Iterator[Any]:
    yield from items(mapping(element).get(name))


def _inner(resource: Any, container: str, name: str) -> Iterator[Any]:
    """The entries of the resource's own list, never those of the same name deeper below."""
    for held in _children(resource, container):
        yield from _children(held, name)


def _told(resource: Any, container: str, element: str, **attributes: str) -> Iterator[dict[str, Any]]:
    for each in _inner(resource, container, element):
        yield {element: words(each), **{name: mapping(each).get(f"@{told}") for name, told in attributes.items()}}


def _who(element: Any, name: str) -> dict[str, Any]:
    named = next(_children(element, name), None)
    return {
        "name": words(named),
        "nameType": mapping(named).get("@nameType"),
        "familyName": words(next(_children(element, "familyName"), None)),
        "givenName": words(next(_children(element, "givenName"), None)),
        "affiliation": [words(each) for each in _children(element, "affiliation")],
        "nameIdentifiers": [
            {
                "nameIdentifier": words(each),
                "nameIdentifierScheme": mapping(each).get("@nameIdentifierScheme"),
                "schemeUri": mapping(each).get("@schemeURI"),
            }
            for each in _children(element, "nameIdentifier")
        ],
    }


def _item(element: Any) -> dict[str, Any]:
    named = next(_children(element, "relatedItemIdentifier"), None)
    return {
        "relatedItemIdentifier": words(named),
        "relatedItemIdentifierType": mapping(named).get("@relatedItemIdentifierType"),
        "relationType": mapping(element).get("@relationType"),
        "relatedItemType": mapping(element).get("@relatedItemType"),
    }


def _funder(element: Any) -> dict[str, Any]:
    award = next(_children(element, "awardNumber"), None)
    found = {name: words(next(_children(element, name), None)) for name in ("funderName", "awardTitle")}
    return {**found, "awardNumber": words(award), "awardUri": mapping(award).get("@awardURI")}


def _geo(element: Any) -> dict[str, Any]:
    """A place with its first name apart: further names and everything else is told in words."""
    names = [words(each) for each in _children(element, "geoLocationPlace")]
    return {**mapping(element), "geoLocationPlace": names[0] if names else None, "further": names[1:]}
