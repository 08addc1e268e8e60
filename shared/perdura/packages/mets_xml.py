"""Text for XML documents that are written as streams: escaped, and never illegal in XML 1.0."""

from __future__ import annotations

import re
from urllib.parse import quote

_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile('[&<>"\t\n\r]')
_PLAIN = re.compile("[ !#-%'-;=?-~]*")
_REFERENCES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}
_HREF_SAFE = "/~!$()*+,;=:@"


def escaped(value: str) -> str:
    """`value` for element content or a double-quoted attribute.

    Characters that XML cannot hold become `\\u{…}` (packages.md 2.10); white space survives normalisation.
    """
    if _PLAIN.fullmatch(value):
        return value
    value = _ILLEGAL.sub(lambda found: f"\\u{{{ord(found[0]):X}}}", value)
    return _SPECIAL.sub(lambda found: _REFERENCES[found[0]], value)


def href(path: str) -> str:
    """A relative path as a relative reference (RFC 3986 4.2), percent-encoded."""
    reference = quote(path, safe=_HREF_SAFE)
    return "./" + reference if ":" in reference.split("/", 1)[0] else reference
