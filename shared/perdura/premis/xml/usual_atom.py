"""Atom as most senders write it: entries of one event read by one expression, without a tree.

An entry is usual when it holds plain elements of Atom and an event of the usual form, without a character that XML
would read as another one. Canonical XML then says the same in the same letters, but for the namespaces that an event
has from around it. A feed is read so up to the first entry that differs: the rest of it, under its own beginning, is
left to the XML parser, which also judges its end. Both ways come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import IO

from perdura.premis.model import Event, value
from perdura.premis.xml.names import ATOM, NAMESPACES, WRITTEN
from perdura.premis.xml.parse import parse
from perdura.premis.xml.reader import DEFAULT_IDENTIFIER_TYPE, event_from
from perdura.premis.xml.usual import BETWEEN, FORMS, TEXT, Form, usual_in

PIECE = 2**17
"""Bytes that are read at once."""

LONGEST = 2**18
"""Bytes within which an entry ends; what goes on for longer is left to the parser."""

_END = b"</entry>"


@value
class UsualEvent:
    """An event of an entry: its canonical XML, and by which expression of its form and version it was found."""

    text: str
    found: re.Match[str]
    form: Form
    version: str

    def read(
        self, *, now: datetime, zone: tzinfo = UTC, identifier_type: str = DEFAULT_IDENTIFIER_TYPE
    ) -> tuple[Event, str, str | None]:
        """What `received` gives of an element. Raises BadPremis or BadDate."""
        read = usual_in(self.found, self.form, self.version, now=now, zone=zone, identifier_type=identifier_type)
        if read is not None:
            return read[0], self.text, read[1]
        element = parse(self.text.encode())
        return event_from(element, now=now, zone=zone, identifier_type=identifier_type), self.text, None


def usual_entry(data: bytes) -> UsualEvent | None:
    """The event of an entry that is a document of its own; None unless it is written as most are."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    begin = _DECLARATION.match(text)
    at = begin.end() if begin is not None else 0
    for entry in _ENTRIES:
        if (found := entry.document.fullmatch(text, at)) is not None:
            return entry.event(found)
    return None


class Rest:
    """A file that can only be read: what the parser is left with."""

    def __init__(self, begin: bytes, file: IO[bytes]) -> None:
        self._begin, self._file = begin, file

    def read(self, size: int = -1) -> bytes:
        """The next bytes; the first time what was read before."""
        begin, self._begin = self._begin, b""
        return begin or self._file.read(size)


class UsualFeed:
    """The events of a feed up to the first entry that is not usual; after them the `rest` of it can be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head = self._left = b""
        self._lines = 0

    @property
    def rest(self) -> Rest:
        """The feed without the entries that were read, each part in the line where it was."""
        return Rest(self._head + b"\n" * self._lines + self._left, self._file)

    def __iter__(self) -> Iterator[UsualEvent]:
        """The events of its entries, in their order."""
        entry: _Entry | None = None
        while True:
            more = self._file.read(PIECE)
            self._left += more
            end = self._left.rfind(_END) + len(_END)
            if end < len(_END):
                if not more or len(self._left) > LONGEST:
                    return
                continue
            try:
                text, after = self._left[:end].decode(), self._left[end:]
            except UnicodeDecodeError:
                return
            at = 0
            if entry is None:
                begin = _BEGIN.match(text)
                entry = next((each for each in _ENTRIES if begin and each.pattern.match(text, begin.end())), None)
                if begin is None or entry is None:
                    return
                self._head, self._lines, at = begin[1].encode(), -begin[1].count("\n"), begin.end()
            while at < len(text):
                found = entry.pattern.match(text, at)
                if found is None:
                    self._left, self._lines = text[at:].encode() + after, self._lines + text.count("\n", 0, at)
                    return
                at = found.end()
                yield entry.event(found)
            self._left, self._lines = after, self._lines + text.count("\n")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What entries look like whose events have one prefix: in a feed, and alone; their canonical begin by namespace."""

    pattern: re.Pattern[str]
    document: re.Pattern[str]
    form: Form
    begin: dict[str, str]

    def event(self, found: re.Match[str]) -> UsualEvent:
        """The event of an entry that was found."""
        return UsualEvent(self.begin[found[1]] + found[2], found, self.form, NAMESPACES[found[1]])


def _leaf(*names: str) -> str:
    return "|".join(f"<{name}>{TEXT}</{name}>|<{name}/>" for name in names)


def _entry(prefix: str, form: Form) -> _Entry:
    attribute = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    around = f' xmlns="{ATOM}"' if prefix else ""
    person = f"<author>{BETWEEN}(?:(?:{_leaf('name', 'uri', 'email')}){BETWEEN})*</author>"
    known = "|".join(map(re.escape, WRITTEN.values()))
    begun = f'<entry xmlns="{re.escape(ATOM)}">'
    held = (
        f"{BETWEEN}(?:(?:{_leaf('title', 'id', 'updated', 'published')}|{person}){BETWEEN})*",
        f'<content type="application/xml">{BETWEEN}<{prefix}event {attribute}="({known})">({form.inside})',
        f"{BETWEEN}</content>{BETWEEN}</entry>",
    )
    inside = "".join(held)
    begin = {namespace: f'<{prefix}event{around} {attribute}="{namespace}">' for namespace in WRITTEN.values()}
    inherited = f"{BETWEEN}(?:{begun}|<entry>)"
    return _Entry(re.compile(inherited + inside), re.compile(begun + inside + BETWEEN), form, begin)


_ENTRIES = [_entry(prefix, form) for prefix, form in FORMS.items()]
_DECLARATION = re.compile(rf"""<\?xml version=["']1\.0["'](?: encoding=["'](?:utf|UTF)-8["'])?\?>{BETWEEN}""")
_BEGIN = re.compile(
    rf"""((?:{_DECLARATION.pattern})?"""
    rf"""<feed xmlns=["']{re.escape(ATOM)}["']>)"""
    rf"{BETWEEN}(?:(?:{_leaf('title', 'id', 'updated', 'subtitle')}){BETWEEN})*"
)
