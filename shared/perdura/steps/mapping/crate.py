"""The root dataset of an RO-Crate (1.0 to 1.2), with the people, places, licences and works that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perdura.steps.mapping.dates import date, dated
from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.people import contributor, creator, name_identifier
from perdura.steps.mapping.report import Document
from perdura.steps.mapping.told import made
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

_DESCRIPTORS = ("ro-crate-metadata.json", "ro-crate-metadata.jsonld")
_NAMING = ("orcid.org", "isni.org", "d-nb.info", "ror.org")
_ROLES = {"contributor": "other", "editor": "editor", "copyrightHolder": "rightsholder", "producer": "producer"}
_DATES = {"dateCreated": "created", "dateModified": "updated", "temporalCoverage": "other"}
_RELATIONS = {
    "isBasedOn": "isderivedfrom", "isPartOf": "ispartof", "sameAs": "isidenticalto", "subjectOf": "isdescribedby",
    "mentions": "references", "relatedLink": "references",
}  # fmt: skip

Entity = Mapping[str, Any]
Graph = Mapping[str, Entity]


def ro_crate(told: Any) -> Mapped | None:
    """The metadata of a crate; None when its graph has no root."""
    graph: dict[str, Entity] = {}
    unnamed = []
    for each in items(mapping(told).get("@graph")):
        name = text(mapping(each).get("@id"))
        if name is None or graph.setdefault(str(name), each) is not each:
            unnamed.append(each)
    root_id = _root(graph)
    root = graph.get(root_id)
    if root is None:
        return None
    mapped = Mapped("RO-Crate", documents=[_outline(told, graph, root_id, unnamed)])
    for title in (*items(root.get("name")), *items(root.get("alternateName"))):
        mapped.title(text(title))
    for value in items(root.get("description")):
        mapped.description(text(value), "other" if "description" in mapped.metadata else "abstract")
    mapped.put("publication_date", date(root.get("datePublished")))
    for name, kind in _DATES.items():
        for value in items(root.get(name)):
            mapped.add("dates", dated(value, kind, "What it covers" if kind == "other" else None))
    mapped.put("version", version(root.get("version")))
    types = sorted(map(text, items(root.get("@type"))), key=lambda name: name == "Dataset")
    mapped.put("resource_type", resource_type(*types))
    for who in _all(root, graph, "author", "creator"):
        mapped.add("creators", _agent(who, graph))
    for name, role in _ROLES.items():
        for who in _all(root, graph, name):
            mapped.add("contributors", contributor(_agent(who, graph), role))
    for found in _all(root, graph, "publisher"):
        mapped.publisher(_called(found))
    for found in _all(root, graph, "license"):
        mapped.add("rights", licence(_called(found), found.get("url") or found.get("@id"), found.get("identifier")))
    mapped.put("copyright", text(root.get("copyrightNotice")))
    _words(mapped, root, graph)
    for found in _all(root, graph, "identifier"):
        mapped.add("identifiers", identifier(found.get("value") or found.get("@id"), found.get("propertyID")))
    for value in items(root.get("url")):
        mapped.add("identifiers", identifier(text(value) or mapping(value).get("@id")))
    for name, relation in _RELATIONS.items():
        for found in _all(root, graph, name):
            mapped.add("related_identifiers", related(found.get("@id") or found.get("url"), relation))
    for found in _all(root, graph, "citation"):
        known = found.get("@id") if text(found.get("name")) else None
        mapped.reference(_called(found), identifier(known))
    for found in _all(root, graph, "funder"):
        mapped.add("funding", funding(found.get("name")))
    for found in _all(root, graph, "funding"):
        for funder in _all(found, graph, "funder"):
            mapped.add(
                "funding", funding(funder.get("name"), found.get("identifier"), found.get("name"), found.get("@id"))
            )
    return mapped


def _root(graph: Graph) -> str:
    """The id of the root: what the descriptor, whatever stands before its name, is about."""
    for name, entity in graph.items():
        if name.endswith(_DESCRIPTORS) and (about := text(mapping(entity.get("about")).get("@id"))):
            return str(about)
    return "./"


def _outline(told: Any, graph: Graph, root_id: str, unnamed: list[Any]) -> Document:
    """The graph by what its entities are called; `unnamed` ones have no name, or that of another.

    What only holds it together is apart, as its files and folders are.
    """
    entities: dict[str, Any] = {}
    structure: list[Any] = [{name: value for name, value in mapping(told).items() if name != "@graph"}]
    parts = []
    for name, entity in graph.items():
        types = {str(each) for each in items(entity.get("@type"))}
        if name.endswith(_DESCRIPTORS):
            structure.append(entity)
        elif name != root_id and types & {"File", "Dataset", "MediaObject", "RepositoryObject"}:
            parts.append(entity)
        else:
            entities[name] = told_of = {}
            for member, value in entity.items():
                if (member == "@type" and name != root_id) or (member == "@id" and "://" not in name):
                    structure.append(value)
                    continue
                pointers = [each for each in items(value) if str(mapping(each).get("@id")) in graph]
                structure += pointers
                if rest := [each for each in items(value) if not any(each is pointer for pointer in pointers)]:
                    told_of[member] = rest
    return Document({**entities, "unnamed": unnamed, "structure": structure, "parts": parts}, ("structure", "parts"))


def _words(mapped: Mapped, root: Entity, graph: Graph) -> None:
    for word in items(root.get("keywords")):
        if text(word):
            parts = [part.strip() for part in word.split(",") if part.strip()]
            for part in parts:
                mapped.add("subjects", subject(made(part, word)))
        else:
            mapped.add("subjects", subject(_called(_resolved(word, graph))))
    for found in _all(root, graph, "about"):
        mapped.add("subjects", subject(found.get("name")))
    for found in _all(root, graph, "inLanguage"):
        codes = [found.get(name) for name in ("code", "alternateName", "identifier", "@id", "name")]
        known = next((code for code in map(text, codes) if code and language(str(code))), None)
        mapped.add("languages", language(known or _called(found)))
    for found in _all(root, graph, "spatialCoverage", "contentLocation", "locationCreated"):
        mapped.place(_called(found), found.get("description"))


def _all(entity: Entity, graph: Graph, *names: str) -> Iterator[Entity]:
    """The entities that the members of these names point to, or hold."""
    for name in names:
        for value in items(entity.get(name)):
            yield _resolved(value, graph)


def _resolved(value: Any, graph: Graph) -> Entity:
    if isinstance(value, str):
        return graph.get(value, {"@id": value, "name": value})
    told = mapping(value)
    return graph.get(str(told.get("@id")), told)


def _called(entity: Entity) -> Any:
    """The name of an entity; what it is called by where it has none."""
    return text(entity.get("name")) or text(entity.get("@id"))


def _agent(who: Entity, graph: Graph) -> dict[str, Any] | None:
    types = [str(each) for each in items(who.get("@type"))]
    organisation = True if "Organization" in types else False if "Person" in types else None
    known = [
        text(who.get("@id")),
        *(text(each) or text(mapping(each).get("value")) for each in items(who.get("identifier"))),
    ]
    return creator(
        who.get("name"),
        family=who.get("familyName"),
        given=who.get("givenName"),
        organisation=organisation,
        identifiers=[name_identifier(each) for each in known if each and any(host in each for host in _NAMING)],
        affiliations=[_called(place) for place in _all(who, graph, "affiliation")],
    )
