"""Metadata of libraries: MARCXML (as Invenio 1 and OAI-PMH give it) and simple Dublin Core."""

from __future__ import annotations

from lxml import etree

from perdura.sources.marcxml import Field, controlfield, fields
from perdura.sources.markup import content
from perdura.steps.mapping.model import Mapped
from perdura.steps.mapping.values import contributor, creator, date, doi, identifier, language, licence, resource_type

DC = "{http://purl.org/dc/elements/1.1/}"
_ROLES = {"ed.": "editor", "dir.": "supervisor", "speaker": "other", "photographer": "other"}
_SILENT = frozenset({"856", "8564", "FFT", "960", "963", "916", "925", "961"})
"""Fields about files and housekeeping of the Source, which are no description."""


def marc(record: etree._Element) -> Mapped:
    """A MARC record."""
    mapped = Mapped("MARCXML")
    for field in fields(record):
        if not _known(mapped, field) and field.tag not in _SILENT:
            mapped.miss(f"{field.tag}", " ".join(value for _, value in field.subfields))
    revised = date((controlfield(record, "005") or "")[:4])
    mapped.put("publication_date", revised)
    return mapped


def _known(mapped: Mapped, field: Field) -> bool:
    """Put one field where it belongs; False when there is no place for it."""
    value = field.get("a")
    match field.tag:
        case "245":
            mapped.put("title", ": ".join(part for part in (value, field.get("b")) if part))
        case "246" | "242" | "210":
            mapped.add("additional_titles", {"title": value, "type": {"id": "alternative-title"}} if value else None)
        case "100":
            mapped.add("creators", _who(mapped, field))
        case "700":
            role = _ROLES.get((field.get("e") or "").lower())
            if role:
                mapped.add("contributors", contributor(_who(mapped, field), role))
            else:
                mapped.add("creators", _who(mapped, field))
        case "110" | "111" | "710" | "711":
            mapped.add("creators", creator(value or field.get("g"), organisation=True))
        case "260" | "269" | "264":
            mapped.put("publisher", field.get("b"))
            mapped.put("publication_date", date(field.get("c")))
        case "520":
            mapped.put("description", value)
        case "500" | "505" | "590":
            mapped.add("additional_descriptions", {"description": value, "type": {"id": "other"}} if value else None)
        case "024":
            scheme = (field.get("2") or "").lower()
            mapped.add("identifiers", identifier(value, scheme if scheme == "doi" and doi(value) else "other"))
        case "037" | "088" | "020" | "022" | "035":
            mapped.add("identifiers", {"scheme": "other", "identifier": value} if value else None)
        case "041":
            mapped.add("languages", language(value))
        case "650" | "653" | "693" | "695":
            for code in ("a", "e"):
                word = field.get(code)
                mapped.add("subjects", {"subject": word} if word else None)
        case "540" | "542":
            rights = value or field.get("f") or field.get("d")
            mapped.add("rights", licence(rights, field.get("u")))
        case "980":
            mapped.put("resource_type", resource_type(value, field.get("b")))
        case "250":
            mapped.put("version", value)
        case "300":
            mapped.add("sizes", value)
        case _:
            return False
    return True


def _who(mapped: Mapped, field: Field) -> dict[str, object] | None:
    places = [value for code, value in field.subfields if code == "u"]
    orcid = next((value for code, value in field.subfields if code in "0j" and "orcid" in value.lower()), None)
    return creator(field.get("a"), orcid=orcid, affiliations=places, report=mapped)


def dublin_core(root: etree._Element) -> Mapped:
    """Any element with Dublin Core elements below it."""
    mapped = Mapped("Dublin Core")
    for element in root.iter(f"{DC}*"):
        value, name = content(element), etree.QName(element).localname
        match name:
            case "title":
                if "title" in mapped.metadata and value:
                    alternative = {"title": value, "type": {"id": "alternative-title"}}
                    mapped.add("additional_titles", alternative)
                mapped.put("title", value)
            case "creator":
                mapped.add("creators", creator(value))
            case "contributor":
                mapped.add("contributors", contributor(creator(value), "other"))
            case "description":
                if "description" in mapped.metadata and value:
                    mapped.add("additional_descriptions", {"description": value, "type": {"id": "other"}})
                mapped.put("description", value)
            case "publisher":
                mapped.put("publisher", value)
            case "date":
                mapped.put("publication_date", date(value))
            case "type":
                mapped.put("resource_type", resource_type(value, value.rpartition("/")[2]))
            case "identifier":
                mapped.add("identifiers", identifier(value))
            case "language":
                mapped.add("languages", language(value))
            case "subject":
                mapped.add("subjects", {"subject": value[:500]} if value else None)
            case "rights":
                mapped.add("rights", licence(value))
            case "format":
                mapped.add("formats", value)
            case _:
                mapped.miss(f"dc:{name}", value)
    return mapped
