"""Which documents of a package describe its record, and in what form they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lxml import etree

from perdura.clients.http import UpstreamRefused
from perdura.recordable import recordable
from perdura.sources.markup import MARC, parse_xml
from perdura.steps.mapping import datacite, invenio, library, other
from perdura.steps.mapping.model import Mapped, mapping

LARGEST = 8 * 2**20
"""Bytes of a metadata document that is read."""

_ORDER = (
    "InvenioRDM JSON", "Zenodo JSON", "DataCite JSON", "DataCite XML", "CERN Open Data JSON", "Indico JSON",
    "RO-Crate", "MARCXML", "Dublin Core", "registry", "sip.json",
)  # fmt: skip
"""Forms by how much they tell, the richest first: later ones only fill what earlier ones left empty."""


def merged(found: Iterable[Mapped]) -> Mapped:
    """One description out of several: the richest form, its gaps filled from the others.

    The report is that of the richest form: what the others tell beside it is the same again.
    """
    ordered = sorted(found, key=lambda mapped: _ORDER.index(mapped.form))
    best = ordered[0]
    for mapped in ordered[1:]:
        for name, value in mapped.metadata.items():
            if name != "related_identifiers":
                best.put(name, value)
    return best


def read(name: str, data: bytes) -> Mapped | None:
    """What a document tells of a record; None when it is none of the known forms, or broken beyond reading."""
    if name.endswith((".json", ".jsonld")):
        try:
            return _json(recordable(json.loads(data)))
        except (ValueError, RecursionError):
            return None
    if name.endswith(".xml"):
        return _xml(name, data)
    return None


def _json(value: Any) -> Mapped | None:
    told = mapping(value[0] if isinstance(value, list) and value else value)
    metadata = mapping(told.get("metadata"))
    creators = metadata.get("creators")
    first = mapping(creators[0]) if isinstance(creators, list) and creators else {}
    attributes = mapping(mapping(told.get("data")).get("attributes"))
    if "person_or_org" in first or isinstance(mapping(metadata.get("resource_type")).get("id"), str):
        return invenio.rdm(told)
    if "contentFiles" in told:
        return other.sip_json(told)
    if "@graph" in told:
        return other.ro_crate(told)
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
    resource = next(root.iter(f"{datacite.KERNEL}resource"), None)
    if resource is not None:
        return datacite.datacite_xml(resource)
    record = _marc(root)
    if record is not None:
        return library.marc(record)
    if next(root.iter(f"{library.DC}title"), None) is not None:
        return library.dublin_core(root)
    return None


def _marc(root: etree._Element) -> etree._Element | None:
    candidates = (
        element
        for element in root.iter(f"{MARC}record", "record")
        if next(element.iter("{*}datafield"), None) is not None
    )
    return next(candidates, None)
