"""Which documents of a package describe its record, and in what form they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lxml import etree

from perdura.clients.http import UpstreamRefused
from perdura.recordable import recordable
from perdura.sources.markup import MARC, parse_xml
from perdura.steps.mapping import crate, datacite, invenio, library, other
from perdura.steps.mapping.model import Mapped, mapping
from perdura.steps.mapping.report import Document
from perdura.steps.mapping.told import tell
from perdura.steps.mapping.xml_tree import tree

LARGEST = 8 * 2**20
"""Bytes of a metadata document that is read."""

MOST_RECORDS = 100
"""Records of one document that are told of; only the first describes."""

_ORDER = (
    "InvenioRDM JSON", "Zenodo JSON", "DataCite JSON", "DataCite XML", "CERN Open Data JSON", "Indico JSON",
    "RO-Crate", "MARCXML", "Dublin Core", "registry", "sip.json",
)  # fmt: skip
"""Forms by how much they tell, the richest first: later ones only fill what earlier ones left empty."""


def merged(found: Iterable[Mapped]) -> Mapped:
    """One description out of several: the richest form, its gaps filled from the others."""
    best, *poorer = sorted(found, key=lambda mapped: _ORDER.index(mapped.form))
    for each in poorer:
        each.documents = [replace(document, label=f"{each.form}: {document.label}") for document in each.documents]
        best.take(each)
    return best


def read(name: str, data: bytes) -> Mapped | None:
    """What a document tells of a record; None when it is none of the known forms, or broken beyond reading."""
    try:
        if name.endswith((".json", ".jsonld")):
            return _json(tell(recordable(json.loads(data))))
        if name.endswith(".xml"):
            return _xml(name, data)
    except (ValueError, RecursionError):
        return None
    return None


def _json(value: Any) -> Mapped | None:
    several = isinstance(value, list)
    told = mapping(value[0] if isinstance(value, list) and value else value)
    mapped = _object(told)
    if mapped is not None and several:
        mapped.documents.append(Document({"further records": value[1:]}))
    return mapped


def _object(told: Mapping[str, Any]) -> Mapped | None:
    metadata = mapping(told.get("metadata"))
    creators = metadata.get("creators")
    first = mapping(creators[0]) if isinstance(creators, list) and creators else {}
    envelope = mapping(told.get("data"))
    attributes = mapping(envelope.get("attributes") or told.get("attributes"))
    if "person_or_org" in first or isinstance(mapping(metadata.get("resource_type")).get("id"), str):
        return invenio.rdm(told)
    if "contentFiles" in told:
        return other.sip_json(told)
    if "@graph" in told:
        return crate.ro_crate(told)
    if {"titles", "types"} <= told.keys() or {"titles", "types"} <= attributes.keys():
        return datacite.datacite_json(told)
    if "results" in told and "count" in told:
        return other.indico(told)
    if {"collaboration", "date_published", "collision_information"} & (metadata.keys() | told.keys()):
        return invenio.open_data(told)
    if metadata.get("title"):
        return invenio.zenodo(told) if "name" in first or "resource_type" in metadata else invenio.open_data(told)
    return None


def _xml(name: str, data: bytes) -> Mapped | None:
    try:
        root = parse_xml(data, name)
    except UpstreamRefused:
        try:
            root = parse_xml(data, name, recover=True)
        except UpstreamRefused:
            return None
    resources = [each for each in root.iter("{*}resource") if str(each.tag).startswith(f"{{{datacite.KERNEL}")]
    if resources:
        return _first(datacite.datacite_xml, tree, resources)
    records = [
        each for each in root.iter(f"{MARC}record", "record") if next(each.iter("{*}datafield"), None) is not None
    ]
    if records:
        return _first(library.marc, library.fields_of, records)
    holders = {
        id(parent): parent for title in root.iter(f"{library.DC}title") if (parent := title.getparent()) is not None
    }
    if holders:
        return _first(library.dublin_core, tree, list(holders.values()))
    return None


def _first(
    reader: Callable[[Any], Mapped], told: Callable[[etree._Element], Any], elements: Sequence[etree._Element]
) -> Mapped:
    """The first record of a document; the others are told as left out."""
    mapped = reader(tell(recordable(told(elements[0]))))
    if more := [told(each) for each in elements[1 : MOST_RECORDS + 1]]:
        further = {"further records": more, "records not told of": max(0, len(elements) - 1 - MOST_RECORDS) or None}
        mapped.documents.append(Document(tell(recordable(further))))
    return mapped
