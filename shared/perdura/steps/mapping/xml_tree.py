"""XML as objects and texts, so that a document of it is told like one of JSON."""

from __future__ import annotations

from typing import Any

from lxml import etree

from perdura.sources.markup import content


def tree(element: etree._Element) -> Any:
    """The element: its text alone, or an object of its attributes (`@name`), its text (`#text`) and its children.

    Children are lists by their names without namespace. An element with text between its children, as descriptions
    have with line breaks, is its whole text.
    """
    found: dict[str, Any] = {f"@{etree.QName(str(name)).localname}": value for name, value in element.attrib.items()}
    children = [child for child in element if isinstance(child.tag, str)]
    if not children or any((part or "").strip() for part in (element.text, *(child.tail for child in children))):
        return {**found, "#text": content(element)} if found else content(element)
    for child in children:
        found.setdefault(etree.QName(child).localname, []).append(tree(child))
    return found


def words(node: Any) -> Any:
    """The text of an element."""
    return node.get("#text") if isinstance(node, dict) else node
