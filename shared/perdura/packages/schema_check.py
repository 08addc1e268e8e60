"""Validates METS and PREMIS documents against the XML schemas in a directory, as streams and without the network.

The schemas are those of the Library of Congress and DILCIS (mets.xsd, premis.xsd, xlink.xsd …), put there by whoever
wants the check. One file speaks for each namespace; what a schema imports is looked for by its namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from perdura.errors import Rejected

_XS = "{http://www.w3.org/2001/XMLSchema}"
_METS = "{http://www.loc.gov/METS/}"
_LET_GO = frozenset(f"{_METS}{name}" for name in ("mdWrap", "mdRef", "file", "fptr", "div"))
_SHOWN = 20


class NoSchemas(Rejected):
    """The directory holds no schemas that can be used."""

    code = "no-schemas"


class Schemas:
    """The schemas of a directory, as one."""

    def __init__(self, directory: Path) -> None:
        """Raises NoSchemas, which says what is wrong with them."""
        found = _read(directory)
        if _METS.strip("{}") not in found:
            raise NoSchemas(f"there is no schema of METS among the .xsd files of {directory}")
        resolver = _Resolver(found)
        parser = etree.XMLParser(no_network=True, resolve_entities=False)
        parser.resolvers.add(resolver)
        try:
            self._schema = etree.XMLSchema(etree.fromstring(_driver(found), parser))
        except etree.XMLSchemaParseError as error:
            raise NoSchemas(f"the schemas of {directory} do not fit together: {error}") from error

    def faults(self, chunks: Iterable[bytes | memoryview]) -> Iterator[str]:
        """What is not as the schemas say, the first of it."""
        parser = etree.XMLPullParser(
            events=("end",),
            schema=self._schema,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=True,
        )
        try:
            for chunk in chunks:
                parser.feed(bytes(chunk))
                for _, element in parser.read_events():
                    _forget(element)
            parser.close()
        except etree.XMLSyntaxError as error:
            messages = dict.fromkeys(each.message for each in parser.feed_error_log if each.message)
            yield from list(messages)[:_SHOWN] or [str(error)]


def _forget(element: etree._Element) -> None:
    if element.tag in _LET_GO or element.tag.endswith(("}object", "}event", "}agent")):
        element.clear()
    elif element.tag.endswith(("MD", "amdSec", "dmdSec")):
        element.clear()
        parent = element.getparent()
        while parent is not None and element.getprevious() is not None:
            del parent[0]


def _read(directory: Path) -> dict[str, tuple[str, Any]]:
    """Namespace → (file name, document) of every schema there."""
    found: dict[str, tuple[str, Any]] = {}
    for path in sorted(directory.glob("*.xsd")):
        try:
            root = etree.parse(str(path), etree.XMLParser(no_network=True, resolve_entities=False)).getroot()
        except (etree.XMLSyntaxError, OSError) as error:
            raise NoSchemas(f"{path.name} cannot be read: {error}") from error
        namespace = root.get("targetNamespace")
        if root.tag != f"{_XS}schema" or namespace is None:
            continue
        if namespace in found:
            raise NoSchemas(f"{found[namespace][0]} and {path.name} are both schemas of {namespace}")
        found[namespace] = (path.name, root)
    return found


def _driver(found: dict[str, tuple[str, Any]]) -> bytes:
    root = etree.Element(f"{_XS}schema")
    for namespace, (name, _) in found.items():
        etree.SubElement(root, f"{_XS}import", namespace=namespace, schemaLocation=name)
    text: bytes = etree.tostring(root)
    return text


class _Resolver(etree.Resolver):  # type: ignore[misc]
    """Gives each schema with its imports turned to the files that are there; nothing else is found."""

    def __init__(self, found: dict[str, tuple[str, Any]]) -> None:
        self._texts: dict[str, bytes] = {}
        for name, root in found.values():
            for element in root.iter(f"{_XS}import"):
                known = found.get(element.get("namespace", ""))
                element.attrib.pop("schemaLocation", None)
                if known is not None:
                    element.set("schemaLocation", known[0])
            self._texts[name] = etree.tostring(root)

    def resolve(self, url: str, public: str | None, context: object) -> object:  # noqa: ARG002
        text = self._texts.get(url.rpartition("/")[2])
        return self.resolve_string(text if text is not None else b"<none/>", context)
