"""A PREMIS document as a stream: its objects, events, agents and rights one by one, in little memory.

As hostile as any other XML (parse.py): no document type, no entities, bounded depth and text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from lxml import etree

from perdura.premis.xml.names import NAMESPACES
from perdura.premis.xml.parse import BadPremis, NotXml, refuse_doctype

_PROLOG = 1 << 16
"""Bytes within which the root element has to begin: a document type is looked for before anything is parsed."""
_LARGEST_PART = 16 * 2**20
_KINDS = ("object", "event", "agent", "rights")

Chunk = bytes | memoryview


def parts(chunks: Iterable[Chunk]) -> Iterator[tuple[str, etree._Element]]:
    """(kind, element) of the children of a `premis` element; an element is only good until the next is asked for.

    The kind is `object`, `event`, `agent` or `rights`. Raises NotXml and BadPremis.
    """
    rest = iter(chunks)
    head = bytearray()
    for chunk in rest:
        head += chunk
        if len(head) >= _PROLOG:
            break
    if not head.strip():
        raise NotXml("The body is empty: expected an XML document.")
    refuse_doctype(bytes(head))
    try:
        _check_root(bytes(head[:_PROLOG]))
        yield from _parts(chain((bytes(head),), rest))
    except etree.XMLSyntaxError as error:
        raise NotXml(f"The document is not well-formed XML: {str(error)[:200]}") from error
    except (LookupError, ValueError) as error:
        raise NotXml(f"The document cannot be read as XML: {str(error)[:200]}") from error


def _parts(chunks: Iterable[Chunk]) -> Iterator[tuple[str, etree._Element]]:
    parser = etree.XMLPullParser(
        events=("end",),
        tag=[f"{{*}}{kind}" for kind in _KINDS],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    since = 0
    for chunk in chunks:
        since += len(chunk)
        parser.feed(bytes(chunk))
        for _, element in parser.read_events():
            parent = element.getparent()
            if parent is None or parent.getparent() is not None:
                continue
            since = 0
            yield etree.QName(element).localname, element
            element.clear()
            while element.getprevious() is not None:
                del parent[0]
        if since > _LARGEST_PART + len(chunk):
            raise BadPremis(f"A part of the document is larger than {_LARGEST_PART} bytes.")
    parser.close()


def _check_root(head: bytes) -> None:
    """Raises BadPremis unless a `premis` element of a known namespace begins here."""
    parser = etree.XMLPullParser(events=("start",), resolve_entities=False, no_network=True, load_dtd=False)
    parser.feed(head)
    _, root = next(iter(parser.read_events()), (None, None))
    if root is None:
        raise BadPremis("No root element begins within the first bytes of the document.")
    name = etree.QName(root)
    if root.getroottree().docinfo.doctype or name.localname != "premis" or name.namespace not in NAMESPACES:
        raise BadPremis(f"{name.localname[:200]}: expected a premis document.")
