"""A container of small AIPs for tape: a BagIt bag in a tar, every AIP a payload file, an index beside them.

Tapes want files of gigabytes (fts-cta.md 7.6). The container is stored nowhere else: its bytes follow from the list
of its members, so that size, ADLER32 and any range of it are known without writing it. Its `index.jsonl`, before the
AIPs, says where each begins in the tar and what it must be. Without Perdura, `tar` and
`sha512sum -c manifest-sha512.txt` are enough.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

from perdura.packages.tar import BLOCK, header, padding
from perdura.storage.digests import combine_adler32

RECORD = 20 * BLOCK
FORMAT = "urn:perdura:tape-container:1"
README = """This tar is a bag (BagIt 1.0, RFC 8493) of archival information packages, put together to fill a tape.
Each file below data/ is one package. index.jsonl says, one JSON object a line, where each begins in this tar
(offset and size in bytes) and its checksums. To check them all: sha512sum -c manifest-sha512.txt
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one AIP lies in a container: bytes `offset` to `offset + length` of its tar."""

    container: UUID
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Member:
    """One AIP of a container: its ids, its size in bytes and its checksums (sha256, sha512, adler32) as hex."""

    package: UUID
    archive: UUID
    size: int
    sha256: str
    sha512: str
    adler32: str

    @property
    def name(self) -> str:
        """Its file in the bag."""
        return f"data/{self.package}.tar"


Part = bytes | Member
"""Bytes of the container's own, or the bytes of one AIP."""


@dataclass(frozen=True)
class Container:
    """One container: the same id, time and members always give the same bytes."""

    id: UUID
    created_at: datetime
    members: tuple[Member, ...]

    @cached_property
    def _tags(self) -> tuple[tuple[str, bytes], ...]:
        """The tag files. The index's own length decides where the AIPs begin: made until nothing changes any more."""
        index = b""
        while True:
            tags = self._tags_with(index)
            made = self._index(sum(BLOCK + len(data) + -len(data) % BLOCK for _, data in tags))
            if made == index:
                return tags
            index = made

    def _tags_with(self, index: bytes) -> tuple[tuple[str, bytes], ...]:
        payload = sum(member.size for member in self.members)
        manifest = "".join(f"{member.sha512}  {member.name}\n" for member in self.members).encode()
        info = (
            f"External-Identifier: {self.id}\nBagging-Date: {self.created_at.astimezone(UTC):%Y-%m-%d}\n"
            f"Payload-Oxum: {payload}.{len(self.members)}\n"
        ).encode()
        tags = (
            ("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
            ("bag-info.txt", info),
            ("README.txt", README.encode()),
            ("index.jsonl", index),
            ("manifest-sha512.txt", manifest),
        )
        listed = "".join(f"{hashlib.sha512(data).hexdigest()}  {name}\n" for name, data in tags)
        return (*tags, ("tagmanifest-sha512.txt", listed.encode()))

    def _index(self, offset: int) -> bytes:
        """The index when the header of the first AIP begins at `offset`."""
        created = self.created_at.astimezone(UTC).isoformat()
        lines: list[dict[str, object]] = [
            {"schema": FORMAT, "container": str(self.id), "created": created, "members": len(self.members)}
        ]
        for member in self.members:
            offset += len(self._header(member.name, member.size))
            lines.append(
                {
                    "path": member.name, "offset": offset, "size": member.size, "aip": str(member.package),
                    "archive": str(member.archive), "sha256": member.sha256, "sha512": member.sha512,
                    "adler32": member.adler32,
                }
            )  # fmt: skip
            offset += member.size + -member.size % BLOCK
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)

    def _header(self, name: str, size: int) -> bytes:
        return header(f"{self.id}/{name}", size, int(self.created_at.timestamp()))

    def parts(self) -> Iterator[Part]:
        """The container's bytes in order, AIPs by reference."""
        pending = b""
        for name, data in self._tags:
            pending += self._header(name, len(data)) + data + padding(len(data))
        for member in self.members:
            yield pending + self._header(member.name, member.size)
            yield member
            pending = padding(member.size)
        yield pending + bytes(self.size - self._end)

    @cached_property
    def _end(self) -> int:
        """Where the last AIP and its padding end."""
        last = self.slots[self.members[-1].package]
        return last.offset + last.length + -last.length % BLOCK

    @cached_property
    def size(self) -> int:
        """Bytes of the tar: two zero blocks end it, and it fills whole records."""
        ended = self._end + 2 * BLOCK
        return ended + -ended % RECORD

    @cached_property
    def slots(self) -> dict[UUID, Slot]:
        """Where each AIP lies, by package."""
        offset = sum(BLOCK + len(data) + -len(data) % BLOCK for _, data in self._tags)
        found: dict[UUID, Slot] = {}
        for member in self.members:
            offset += len(self._header(member.name, member.size))
            found[member.package] = Slot(self.id, offset, member.size)
            offset += member.size + -member.size % BLOCK
        return found

    @cached_property
    def adler32(self) -> str:
        """ADLER32 of the tar, combined from those of its parts: no AIP is read for it."""
        value = 1
        for part in self.parts():
            if isinstance(part, Member):
                value = combine_adler32(value, int(part.adler32, 16), part.size)
            else:
                value = zlib.adler32(part, value)
        return f"{value:08x}"

    def ranged(self, start: int, end: int) -> Iterator[tuple[Part, int, int]]:
        """The parts that bytes `start` to `end` touch, each with the range of its own bytes that is wanted."""
        position = 0
        for part in self.parts():
            length = part.size if isinstance(part, Member) else len(part)
            first, last = max(start - position, 0), min(end - position, length)
            if first < last:
                yield part, first, last
            position += length


_LONGEST = 10**18
"""A size or an offset with as many digits as there may be."""
_SAMPLE = Container(UUID(int=0), datetime(2000, 1, 1, tzinfo=UTC), (Member(UUID(int=0), UUID(int=0), _LONGEST, "0" * 64,
                    "0" * 128, "0" * 8),))  # fmt: skip
AROUND = _SAMPLE.size - _LONGEST + RECORD
"""Bytes that a container of one AIP has around it at most: tag files, headers, padding, end."""
BESIDE = (
    len(_SAMPLE._header(_SAMPLE.members[0].name, _LONGEST))
    + BLOCK
    + sum(len(data) for name, data in _SAMPLE._tags if name in ("index.jsonl", "manifest-sha512.txt"))
)
"""Bytes that each further AIP adds at most beside its own: header, padding, its lines in index and manifest."""


def grouped(sizes: Sequence[tuple[UUID, int]], largest: int, *, complete: bool) -> Iterable[tuple[UUID, ...]]:
    """Cut AIPs, in their order, into groups whose containers have at most `largest` bytes.

    The last group, which may still grow, is given only when `complete`. A group of one is no group: it is left out.
    """
    group: list[UUID] = []
    total = AROUND
    for package, size in sizes:
        if group and total + size + BESIDE > largest:
            if len(group) > 1:
                yield tuple(group)
            group, total = [], AROUND
        group.append(package)
        total += size + BESIDE
    if complete and len(group) > 1:
        yield tuple(group)
