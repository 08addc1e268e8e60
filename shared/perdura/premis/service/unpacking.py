"""What a batch holds, one part after the other, from a file: memory does not grow with the batch."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any, Protocol

from lxml import etree

from perdura.premis.json_form import BadJson
from perdura.premis.service.call import shown
from perdura.premis.xml import NotXml, refuse_doctype
from perdura.premis.xml.names import ATOM, NAMESPACES
from perdura.premis.xml.parse import BLANK
from perdura.premis.xml.usual_atom import UsualEvent, UsualFeed

PIECE = 2**17
"""Bytes that are read at once."""

HEAD = 4_096
"""Bytes within which the root element of a batch begins."""

TOGETHER = 50
"""Elements that are taken out of the tree at once, each empty by then."""

_PARTS = (f"{{{ATOM}}}entry", "entry", *(f"{{{namespace}}}event" for namespace in NAMESPACES))
_BLANK = re.compile(r"[ \t\r\n]*")
_UNDECIDED = len("e+1")
"""Characters after a number that may yet be part of it."""
_scan = json.JSONDecoder().raw_decode


class Readable(Protocol):
    """All that the XML parser asks of a file."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes."""
        ...


def root_name(head: bytes) -> bytes:
    """The name without prefix of the element that a document begins with; empty when none is seen in its head."""
    rest = head.lstrip(codecs.BOM_UTF8 + BLANK)
    while rest.startswith((b"<?", b"<!--")):
        _, found, rest = rest.partition(b"?>" if rest.startswith(b"<?") else b"-->")
        rest = rest.lstrip(BLANK)
        if not found:
            return b""
    words = rest[1:].split(maxsplit=1) if rest.startswith(b"<") else []
    return words[0].rstrip(b">/").split(b">")[0].rpartition(b":")[2] if words else b""


def entries(file: IO[bytes]) -> Iterator[UsualEvent | etree._Element]:
    """Entries of a feed, or events of a premis document; each is good until the next is asked for. Raises NotXml."""
    head = file.read(HEAD)
    refuse_doctype(head)
    file.seek(len(head) - len(head.lstrip(BLANK)))
    feed = UsualFeed(file)
    yield from feed
    yield from _elements(feed.rest)


def _elements(file: Readable) -> Iterator[etree._Element]:
    root: etree._Element | None = None
    seen = 0
    parser = etree.iterparse(
        file,
        events=("end",),
        tag=_PARTS,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )
    try:
        for _, element in parser:
            parent = element.getparent()
            if root is None and parent is not None and parent.getparent() is None:
                root = parent
            if root is None or parent is not root:
                continue
            yield element
            element.clear()
            seen += 1
            if seen % TOGETHER == 0:
                del root[: root.index(element)]
    except etree.XMLSyntaxError as error:
        raise NotXml(f"The body is not well-formed XML: {shown(str(error))}") from error


def json_value(data: bytes) -> Any:
    """A JSON document; raises BadJson."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad(error) from error


def lines(file: IO[bytes], longest: int) -> Iterator[bytes]:
    """Lines that are not blank; raises BadJson for one of more than `longest` bytes."""
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise BadJson(f"A line is longer than {longest} bytes.")
        if line.strip():
            yield line


def items(file: IO[bytes], longest: int) -> Iterator[Any]:
    """The values in a JSON list; raises BadJson, also for one whose text has more than `longest` characters."""
    pieces = _Pieces(file, longest)
    pieces.skip("[")
    if pieces.next() != "]":
        while True:
            yield pieces.value()
            if pieces.next() != ",":
                break
            pieces.skip(",")
    pieces.skip("]")
    if pieces.next():
        raise BadJson("The body is no JSON: there is something after the list.")


class _Pieces:
    """The text of a JSON document, of which only the part that is being read is kept."""

    def __init__(self, file: IO[bytes], longest: int) -> None:
        self._file, self._longest = file, longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._ended = "", 0, False

    def next(self) -> str:
        """The next character that is not blank, which stays; empty at the end."""
        while True:
            found = _BLANK.match(self._text, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, character: str) -> None:
        """Take a character; raises BadJson when another one is next."""
        if self.next() != character:
            raise BadJson(f"The body is no JSON: expected {character!r}.")
        self._at += 1

    def value(self) -> Any:
        """Take a value; raises BadJson."""
        while True:
            self.next()
            try:
                value, end = _scan(self._text, self._at)
            except RecursionError as error:
                raise _bad(error) from error
            except ValueError as error:
                if not self._more():
                    raise _bad(error) from error
                continue
            if end + _UNDECIDED <= len(self._text) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Whether there was more to read: as much as is there already, so that long values are not read often."""
        if self._ended:
            return False
        kept = self._text[self._at :]
        if len(kept) > self._longest:
            raise BadJson(f"A value is longer than {self._longest} characters.")
        data = self._file.read(max(PIECE, len(kept)))
        try:
            self._text, self._at = kept + self._decoder.decode(data, final=not data), 0
        except UnicodeDecodeError as error:
            raise _bad(error) from error
        self._ended = not data
        return True


def _bad(error: Exception) -> BadJson:
    return BadJson(f"The body is no JSON: {shown(str(error))}")
