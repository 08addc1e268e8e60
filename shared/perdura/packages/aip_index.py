"""The index beside an AIP: where each file lies in the tar, so that it can be read by range (architecture §5).

One JSON object a line. The first describes the tar as a whole, the others one member each, in the order of the tar.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from perdura.packages.aip_digests import SHA256_ALONE, MemberDigests
from perdura.packages.aip_members import Member, Members

SCHEMA = "urn:perdura:aip-index:1"


@dataclass(frozen=True, slots=True)
class Header:
    """The AIP as a whole: its ids, its base directory, its size in bytes and its digests as hex."""

    aip: str
    archive: str
    base: str
    size: int
    checksums: Mapping[str, str]
    members: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One member, the PRONOM key and the name of its format if they are known."""

    member: Member
    format_key: str | None = None
    format_name: str | None = None


class Entries(Sequence[Entry]):
    """All files of an index in columns; an entry is made when it is asked for: they may be millions.

    Of their digests SHA-256 is kept. A file takes 60 bytes, and its name.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._members = Members(SHA256_ALONE)
        self._formats: dict[tuple[str | None, str | None], int] = {}
        self._format = array("I")
        for entry in entries:
            self._members.append(entry.member)
            told = (entry.format_key, entry.format_name)
            self._format.append(self._formats.setdefault(told, len(self._formats)))
        self._told = tuple(self._formats)

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Entry]: ...

    def __getitem__(self, place: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return Entry(self._members[place], *self._told[self._format[place]])


def encode(header: Header, entries: Iterable[Entry]) -> Iterator[bytes]:
    """The lines of the index."""
    yield _line(
        {
            "schema": SCHEMA,
            "aip": header.aip,
            "archive": header.archive,
            "base": header.base,
            "size": header.size,
            "checksums": dict(header.checksums),
            "members": header.members,
        }
    )
    for entry in entries:
        fields: dict[str, Any] = {
            "path": entry.member.path,
            "offset": entry.member.offset,
            "size": entry.member.size,
            **entry.member.digests,
        }
        if entry.format_key:
            fields["format"] = entry.format_key
        if entry.format_name:
            fields["format_name"] = entry.format_name
        yield _line(fields)


def decode(text: Iterable[bytes]) -> tuple[Header, Iterator[Entry]]:
    """Read an index back from its lines; raises ValueError or KeyError when it is not one."""
    rest = iter(text)
    first = json.loads(next(rest, b"{}"))
    if first.get("schema") != SCHEMA:
        raise ValueError("this is not an index of an AIP")
    del first["schema"]
    return Header(**first), (_entry(json.loads(line)) for line in rest)


def lines(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The lines of a text that comes in chunks, as `decode` wants them: without their ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + bytes(chunk)).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _entry(fields: Mapping[str, Any]) -> Entry:
    member = Member(fields["path"], fields["offset"], fields["size"], MemberDigests.of_hex(fields))
    return Entry(member, fields.get("format"), fields.get("format_name"))


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
