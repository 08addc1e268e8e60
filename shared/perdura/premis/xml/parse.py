"""Hostile XML to a tree: no document type, no entities, no network, bounded depth and text (premis.md 1.14)."""

from __future__ import annotations

import codecs
import threading

from lxml import etree

from perdura.errors import Rejected

_kept = threading.local()
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_EXTENSION_DEPTH = 4
"""Elements of an event around what an extension holds."""

BLANK = b" \t\r\n"
"""What is white space in XML (2.3, production S): fewer characters than `bytes.strip` takes away by itself."""


class NotXml(Rejected):
    """The bytes are no XML document that may be read."""

    code = "not-xml"


class BadPremis(Rejected):
    """Well-formed XML that holds no PREMIS of the kind expected, or lacks a mandatory part."""

    code = "bad-premis"


def parse(data: bytes) -> etree._Element:
    """The root element of a document in any encoding the parser knows; raises NotXml.

    White space before the XML declaration is forgiven.
    """
    if not any(data.startswith(bom) for bom, _ in _BOMS):
        data = data.lstrip(BLANK)
    if not data:
        raise NotXml("The body is empty: expected an XML document.")
    refuse_doctype(data)
    try:
        root = etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        raise NotXml(f"The body is not well-formed XML: {str(error)[:200]}") from error
    except (LookupError, ValueError) as error:
        raise NotXml(f"The body cannot be read as XML: {str(error)[:200]}") from error
    if root.getroottree().docinfo.doctype:
        raise NotXml("DTDs are not accepted")
    return root


def check_extension(xml: str) -> None:
    """Raises NotXml unless what an extension holds can be read again from as deep in an event as extensions stand."""
    parse(f"{'<x>' * _EXTENSION_DEPTH}{xml}{'</x>' * _EXTENSION_DEPTH}".encode())


def _parser() -> etree.XMLParser:
    """The parser of this thread: making one takes as long as reading an event with it."""
    kept: etree.XMLParser | None = getattr(_kept, "parser", None)
    if kept is None:
        kept = _kept.parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return kept


def refuse_doctype(data: bytes) -> None:
    """Raise NotXml when a document type is declared; nothing is parsed to find out."""
    if _has_doctype(data):
        raise NotXml("DTDs are not accepted")


def _has_doctype(data: bytes) -> bool:
    """Whether a document type declaration stands before the root element."""
    text = _prolog(data)
    position = 0
    while True:
        position = text.find("<", position)
        if position < 0:
            return False
        if text.startswith("<!DOCTYPE", position):
            return True
        for start, end in (("<?", "?>"), ("<!--", "-->")):
            if text.startswith(start, position):
                stop = text.find(end, position + len(start))
                if stop < 0:
                    return False
                position = stop + len(end)
                break
        else:
            return False


def _prolog(data: bytes) -> str:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace")
    if data[:2] == b"<\0":
        return data.decode("utf-16-le", "replace")
    if data[:2] == b"\0<":
        return data.decode("utf-16-be", "replace")
    return data.decode("latin-1")
