"""Zip archives read by their central directory in coalesced ranges, every member checked (packages.md 2.3, 5.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from perdura.packages import zip_records as records
from perdura.packages.container import SPAN, Task
from perdura.packages.inflate import INFLATE_ERRORS, new_inflater
from perdura.packages.names import PlainNames
from perdura.packages.prefetch import prefetched
from perdura.packages.rules import PackageRejected
from perdura.packages.window import WHOLE, Window
from perdura.packages.zip_records import ZipMember
from perdura.storage.digests import crc32

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import ByteSource

_HEADER = records.LOCAL.size
_FURTHEST_BODY = _HEADER + 2 * 0xFFFF
_LENGTHS = struct.Struct("<HH")
_CHUNK = 2**20
_SLICE = 2**18
_SIGNED = (records.DESCRIPTOR_SIGNATURE,)
_DESCRIPTORS = {form.size: form for form in map(struct.Struct, ("<III", "<IIII", "<IQQ", "<IIQQ"))}


class ZipContainer:
    """A zip archive whose central directory is sound and tiles the object."""

    kind = "zip"
    parallelism = None

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        """Reads the central directory; raises PackageRejected."""
        self._source = source
        self._limits = limits
        directory = records.find_directory(source)
        plain = PlainNames(limits)
        self._members, self._warnings = records.read_members(source, directory, limits, plain)
        self.has_plain_names = plain.without_exception
        self._stops = records.stops(self._members, directory)

    @property
    def members(self) -> Sequence[ZipMember]:
        """All members in the order in which they lie."""
        return self._members

    @property
    def warnings(self) -> Sequence[tuple[str, str | None]]:
        """Names that are UTF-8 without saying so."""
        return self._warnings

    @property
    def stored_size(self) -> int:
        """Bytes of the archive."""
        return self._source.size

    def offset(self, index: int) -> int | None:
        """Right before the next member, as tiling says, for a stored member without a data descriptor."""
        member = self._members[index]
        if member.method != records.STORED or member.flags & records.DESCRIPTOR:
            return None
        return self._stops[index] - member.stored

    def tasks(self, wanted: Callable[[int], bool]) -> Iterable[Task]:
        """Runs of neighbouring members up to SPAN bytes; a longer member is a run of its own."""
        first: int | None = None
        for index in range(len(self._members)):
            if first is not None and (not wanted(index) or self._stops[index] - self._members[first].start > SPAN):
                yield self._run(first, index)
                first = None
            if first is None and wanted(index):
                first = index
        if first is not None:
            yield self._run(first, len(self._members))

    def read(self, index: int) -> Iterator[memoryview]:
        """The bytes of one member."""
        for _, chunks in self._run(index, index + 1)():
            yield from chunks

    def _run(self, first: int, stop: int) -> Task:
        def run() -> Iterator[tuple[int, Iterable[memoryview]]]:
            window = Window(self._source, self._members[first].start, self._stops[stop - 1])
            for index in range(first, stop):
                member = self._members[index]
                length = self._stops[index] - member.start
                if length > WHOLE:
                    yield index, self._streamed(index, window)
                    continue
                region = window.take(length)
                body = self._check_header(index, region)
                data = region[body : body + member.stored]
                if member.flags & records.DESCRIPTOR:
                    _check_descriptor(region[body + member.stored :], member)
                if member.method == records.STORED:
                    if crc32(data, 0) != member.crc:
                        raise PackageRejected("member-checksum", member.path)
                    yield index, (data,)
                else:
                    yield index, self._inflated(member, iter((data,)))

        return run

    def _streamed(self, index: int, window: Window) -> Iterator[memoryview]:
        member, length = self._members[index], self._stops[index] - self._members[index].start
        head = bytes(window.take(_HEADER))
        name_length, extra_length = _LENGTHS.unpack_from(head, _HEADER - _LENGTHS.size)
        if _HEADER + name_length + extra_length > length:
            raise PackageRejected("zip-local-header", member.path)
        body = self._check_header(index, memoryview(head + window.take(name_length + extra_length)))
        chunks = window.pieces(member.stored)
        yield from self._checked(member, chunks) if member.method == records.STORED else self._inflated(member, chunks)
        if member.flags & records.DESCRIPTOR:
            _check_descriptor(window.take(length - body - member.stored), member)

    def resume(self, index: int, offset: int) -> Iterator[memoryview] | None:
        """The bytes of a stored member from an offset on."""
        member, stop = self._members[index], self._stops[index]
        if member.method != records.STORED:
            return None
        head = self._source.read(member.start, min(_FURTHEST_BODY, stop - member.start))
        body = member.start + self._check_header(index, memoryview(head))
        if member.flags & records.DESCRIPTOR:
            _check_descriptor(self._source.read(body + member.stored, stop - body - member.stored), member)
        return prefetched(self._source, body + offset, member.stored - offset)

    def crc(self, index: int) -> int:
        """The CRC-32 of a member."""
        return self._members[index].crc

    def _checked(self, member: ZipMember, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        crc = 0
        for chunk in chunks:
            crc = crc32(chunk, crc)
            yield chunk
        if crc != member.crc:
            raise PackageRejected("member-checksum", member.path)

    def _inflated(self, member: ZipMember, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Inflate within the declared size; the stream must end exactly at both sizes (Z7)."""
        inflater: Any = new_inflater()
        crc = size = 0
        for data in _slices(chunks):
            if inflater.eof:
                raise PackageRejected("zip-deflate", member.path, "bytes after the end of the stream")
            left: Any = data
            while True:
                try:
                    out = inflater.decompress(left, _CHUNK)
                except INFLATE_ERRORS as error:
                    raise PackageRejected("zip-deflate", member.path) from error
                size += len(out)
                if size > member.size:
                    raise PackageRejected("member-size", member.path, "it unpacks to more than announced")
                self._check_ratio(member, size)
                crc = crc32(out, crc)
                if out:
                    yield memoryview(out)
                left = inflater.unconsumed_tail
                if inflater.eof or (not left and len(out) < _CHUNK):
                    break
            if inflater.eof and (inflater.unused_data or inflater.unconsumed_tail):
                raise PackageRejected("zip-deflate", member.path, "bytes after the end of the stream")
        if not inflater.eof or size != member.size:
            raise PackageRejected("zip-deflate", member.path, "it ends early")
        if crc != member.crc:
            raise PackageRejected("member-checksum", member.path)

    def _check_ratio(self, member: ZipMember, size: int) -> None:
        if size > self._limits.ratio_free and size > self._limits.ratio * member.stored:
            raise PackageRejected("limit-ratio", member.path, f"more than {self._limits.ratio} : 1")

    def _check_header(self, index: int, region: memoryview) -> int:
        """Check the local header against the central directory (Z5, Z4); gives its length.

        `region` begins with it and holds it whole, if it is one.
        """
        member = self._members[index]
        name = member.name
        signature, _, flags, method, _, _, crc, stored, size, name_length, extra_length = records.LOCAL.unpack_from(
            region
        )
        body: int = _HEADER + name_length + extra_length
        if (
            signature != records.LOCAL_SIGNATURE
            or method != member.method
            or (flags ^ member.flags) & records.COMPARED_FLAGS
            or region[_HEADER : _HEADER + name_length] != name
            or body > len(region)
        ):
            raise PackageRejected("zip-local-header", member.path)
        if extra_length:
            fields = records.extra_fields(bytes(region[_HEADER + name_length : body]), name)
            if 1 in fields:
                size, stored, _ = records.zip64_values(fields[1], size, stored, None, name)
        streamed = flags & records.DESCRIPTOR
        if (crc, stored, size) != (member.crc, member.stored, member.size) and not (
            streamed and crc == 0 and stored in (0, records.MAX32) and size in (0, records.MAX32)
        ):
            raise PackageRejected("zip-local-header", member.path, "CRC or sizes differ")
        rest = self._stops[index] - member.start - body - member.stored
        if streamed and rest not in _DESCRIPTORS:
            raise PackageRejected("zip-descriptor", member.path)
        if rest and not streamed:
            raise PackageRejected("zip-tiling", member.path)
        return body


def _check_descriptor(data: memoryview | bytes, member: ZipMember) -> None:
    """Whether the bytes are a data descriptor of that member, in one of its four forms (Z6)."""
    values = _DESCRIPTORS[len(data)].unpack(data)
    if values[-3:] != (member.crc, member.stored, member.size) or values[:-3] not in ((), _SIGNED):
        raise PackageRejected("zip-descriptor", member.path)


def _slices(chunks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Cut input small: an inflater copies what it does not use at once."""
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE):
            yield chunk[start : start + _SLICE]
