"""Metadata formats of the OAI-PMH server: `oai_dc` (mandatory) and `oai_datacite`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from perdura.web.description import Description
from perdura.web.schema_org import available, types_of

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_OAI_DC = "http://www.openarchives.org/OAI/2.0/oai_dc/"
_DC = "http://purl.org/dc/elements/1.1/"
_OAI_DATACITE = "http://schema.datacite.org/oai/oai-1.1/"
_DATACITE = "http://datacite.org/schema/kernel-4"


@dataclass(frozen=True, slots=True)
class Format:
    """A metadata format: its prefix, where it is defined, and how a record is written in it."""

    prefix: str
    schema: str
    namespace: str
    write: Callable[[Description], etree._Element]


def _text(parent: etree._Element, name: str, text: str | None, **attributes: str) -> etree._Element | None:
    """A child with text; none for what is not known. Characters that XML cannot hold are replaced."""
    if not text:
        return None
    child = etree.SubElement(parent, name, attributes)
    child.text = "".join(c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff"))
    return child


def dublin_core(description: Description) -> etree._Element:
    """Simple Dublin Core."""
    root = etree.Element(f"{{{_OAI_DC}}}dc", nsmap={"oai_dc": _OAI_DC, "dc": _DC, "xsi": XSI})
    root.set(f"{{{XSI}}}schemaLocation", f"{_OAI_DC} http://www.openarchives.org/OAI/2.0/oai_dc.xsd")
    _text(root, f"{{{_DC}}}title", description.title)
    for name in description.creators:
        _text(root, f"{{{_DC}}}creator", name)
    _text(root, f"{{{_DC}}}description", description.description)
    _text(root, f"{{{_DC}}}publisher", description.publisher)
    _text(root, f"{{{_DC}}}date", description.date or description.published_at.date().isoformat())
    _text(root, f"{{{_DC}}}type", description.resource_type)
    _text(root, f"{{{_DC}}}identifier", description.url)
    _text(root, f"{{{_DC}}}identifier", f"https://doi.org/{description.doi}" if description.doi else None)
    _text(root, f"{{{_DC}}}source", description.source_url)
    if description.embargo:
        _text(root, f"{{{_DC}}}rights", "info:eu-repo/semantics/embargoedAccess")
        _text(root, f"{{{_DC}}}date", f"info:eu-repo/date/embargoEnd/{description.embargo.isoformat()}")
    for licence in description.licences:
        _text(root, f"{{{_DC}}}rights", licence)
    return root


def datacite(description: Description) -> etree._Element:
    """A DataCite 4 resource in the envelope that DataCite defined for OAI-PMH."""
    root = etree.Element(f"{{{_OAI_DATACITE}}}oai_datacite", nsmap={None: _OAI_DATACITE, "xsi": XSI})
    root.set(f"{{{XSI}}}schemaLocation", f"{_OAI_DATACITE} http://schema.datacite.org/oai/oai-1.1/oai.xsd")
    _text(root, f"{{{_OAI_DATACITE}}}schemaVersion", "4.6")
    _text(root, f"{{{_OAI_DATACITE}}}datacentreSymbol", "PERDURA")
    payload = etree.SubElement(root, f"{{{_OAI_DATACITE}}}payload")
    payload.append(_resource(description))
    return root


def _resource(description: Description) -> etree._Element:
    def tag(name: str) -> str:
        return f"{{{_DATACITE}}}{name}"

    resource = etree.Element(tag("resource"), nsmap={None: _DATACITE, "xsi": XSI})
    schema = "http://schema.datacite.org/meta/kernel-4.6/metadata.xsd"
    resource.set(f"{{{XSI}}}schemaLocation", f"{_DATACITE} {schema}")
    if description.doi:
        _text(resource, tag("identifier"), description.doi, identifierType="DOI")
    else:
        _text(resource, tag("identifier"), description.url, identifierType="URL")
    creators = etree.SubElement(resource, tag("creators"))
    for name in description.creators or (":unkn",):
        creator = etree.SubElement(creators, tag("creator"))
        _text(creator, tag("creatorName"), name)
        orcid = description.creator_urls.get(name)
        _text(
            creator, tag("nameIdentifier"), orcid, nameIdentifierScheme="ORCID", schemeURI="https://orcid.org"
        )  # fmt: skip
    _text(etree.SubElement(resource, tag("titles")), tag("title"), description.title)
    _text(resource, tag("publisher"), description.publisher or ":unkn")
    _text(resource, tag("publicationYear"), description.year)
    general = types_of(description)[1]
    _text(resource, tag("resourceType"), description.resource_type or general, resourceTypeGeneral=general)
    dates = etree.SubElement(resource, tag("dates"))
    _text(dates, tag("date"), description.date, dateType="Issued")
    _text(dates, tag("date"), available(description).isoformat(), dateType="Available")
    alternate = etree.SubElement(resource, tag("alternateIdentifiers"))
    _text(alternate, tag("alternateIdentifier"), str(description.id), alternateIdentifierType="UUID")
    if description.source_url:
        related = etree.SubElement(resource, tag("relatedIdentifiers"))
        _text(
            related, tag("relatedIdentifier"), description.source_url,
            relatedIdentifierType="URL", relationType="IsDerivedFrom",
        )  # fmt: skip
    _text(resource, tag("version"), description.version)
    if description.licences:
        rights = etree.SubElement(resource, tag("rightsList"))
        for licence in description.licences:
            _text(rights, tag("rights"), licence)
    if description.description:
        descriptions = etree.SubElement(resource, tag("descriptions"))
        _text(descriptions, tag("description"), description.description, descriptionType="Abstract")
    return resource


FORMATS = {
    entry.prefix: entry
    for entry in (
        Format("oai_dc", "http://www.openarchives.org/OAI/2.0/oai_dc.xsd", _OAI_DC, dublin_core),
        Format("oai_datacite", "http://schema.datacite.org/oai/oai-1.1/oai.xsd", _OAI_DATACITE, datacite),
    )
}
