"""XML of strangers: no entities, no DTD, no network, bounded; broken documents only when the caller says so."""

from __future__ import annotations

from lxml import etree

from perdura.clients.http import UpstreamRefused

MARC = "{http://www.loc.gov/MARC21/slim}"
"""Namespace of MARCXML, as lxml spells it."""


def parse_xml(data: bytes, what: str, *, recover: bool = False) -> etree._Element:
    """The root element of an XML document; raises UpstreamRefused (`upstream-not-xml`).

    `recover=True` reads what can be read of a document that is not well-formed.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=recover
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UpstreamRefused(f"{what} answered with broken XML: {error}", code="upstream-not-xml") from error
    if root is None:
        raise UpstreamRefused(f"{what} answered with nothing that is XML.", code="upstream-not-xml")
    if root.getroottree().docinfo.doctype:
        raise UpstreamRefused(f"{what} answered with a document type, which is never read.", code="upstream-not-xml")
    return root


def content(element: etree._Element | None) -> str:
    """The element's text without white space around it."""
    return "" if element is None else "".join(element.itertext()).strip()
