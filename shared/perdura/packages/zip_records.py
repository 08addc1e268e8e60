"""The records of a zip archive, parsed as strictly as rules Z1 to Z10 of packages.md 2.3 want (APPNOTE 4.3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from perdura.errors import ObjectChanged
from perdura.packages.names import PathRoom, PlainNames, member_path
from perdura.packages.rules import PackageRejected

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import ByteSource

LOCAL = struct.Struct("<IHHHHHIIIHH")
"""Local file header (APPNOTE 4.3.7): signature, version, flags, method, time, date, CRC, sizes, lengths."""
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_LOCATOR = struct.Struct("<IIQI")
_END64 = struct.Struct("<IQHHIIQQQQ")
LOCAL_SIGNATURE, _CENTRAL_SIGNATURE, _END_SIGNATURE = 0x04034B50, 0x02014B50, 0x06054B50
_LOCATOR_SIGNATURE, _END64_SIGNATURE, DESCRIPTOR_SIGNATURE = 0x07064B50, 0x06064B50, 0x08074B50
_ENCRYPTED, DESCRIPTOR, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x40, 0x800, 0x2000
COMPARED_FLAGS = _ENCRYPTED | DESCRIPTOR | _UTF8
STORED, DEFLATED = 0, 8
_MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
_UNIX = frozenset({3, 19})
"""Hosts "made by" whose external attributes hold a Unix mode: Unix and macOS."""
_PATH = itemgetter(0)
_PIECE = 8 * 2**20
_LONGEST_END = 22 + _MAX16


class ZipMember(NamedTuple):
    """One entry of the central directory. `start` is where its local header begins, `stored` its compressed size."""

    path: str
    size: int
    is_directory: bool
    start: int
    stored: int
    crc: int
    flags: int
    method: int
    raw: bytes | None
    """The name as written, where it is not simply the UTF-8 of `path`."""
    name_length: int
    """Bytes of the name as written."""

    @property
    def name(self) -> bytes:
        """The name as written."""
        return self.path.encode() if self.raw is None else self.raw


class Directory(NamedTuple):
    """Where the central directory lies and how many entries were announced."""

    start: int
    end: int
    entries: int


def find_directory(source: ByteSource) -> Directory:
    """Find the one end record and what it says (Z1, Z2, Z3); raises PackageRejected."""
    tail_start = max(source.size - _LONGEST_END, 0)
    tail = source.read(tail_start, source.size - tail_start)
    candidates = list(_end_records(tail))
    if len(candidates) != 1:
        raise PackageRejected("zip-end-record", detail=f"{len(candidates)} candidates for it")
    position = tail_start + candidates[0]
    _, disk, first_disk, here, entries, size, start, _ = _END.unpack_from(tail, candidates[0])
    if disk or first_disk or here != entries:
        raise PackageRejected("zip-end-record", detail="the archive is split over several disks")
    end = position
    if position >= _LOCATOR.size:
        raw = source.read(position - _LOCATOR.size, _LOCATOR.size)
        signature, locator_disk, record, disks = _LOCATOR.unpack(raw)
        if signature == _LOCATOR_SIGNATURE:
            if locator_disk or disks > 1 or record + _END64.size + _LOCATOR.size != position:
                raise PackageRejected("zip64-record", detail="the locator points elsewhere")
            start, size, entries = _end64(source.read(record, _END64.size), start, size, entries)
            end = record
    if start + size != end:
        raise PackageRejected("zip-directory", detail="it does not end where the end record begins")
    return Directory(start, end, entries)


def _end_records(tail: bytes) -> Iterator[int]:
    at = tail.find(b"PK\x05\x06")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            yield at
        at = tail.find(b"PK\x05\x06", at + 1)


def _end64(raw: bytes, start: int, size: int, entries: int) -> tuple[int, int, int]:
    if len(raw) < _END64.size:
        raise PackageRejected("zip64-record", detail="it is cut off")
    signature, length, _, _, disk, first_disk, here, entries64, size64, start64 = _END64.unpack(raw)
    if signature != _END64_SIGNATURE or length != 44 or disk or first_disk or here != entries64:
        raise PackageRejected("zip64-record")
    pairs = ((entries, entries64, _MAX16), (size, size64, MAX32), (start, start64, MAX32))
    if any(short not in (sentinel, long) for short, long, sentinel in pairs):
        raise PackageRejected("zip64-record", detail="it contradicts the end record")
    return start64, size64, entries64


def read_members(
    source: ByteSource, directory: Directory, limits: Limits, plain: PlainNames
) -> tuple[list[ZipMember], list[tuple[str, str | None]]]:
    """All entries of the central directory by their place in the archive, and warnings (Z3, Z4, Z7 to Z10).

    Raises PackageRejected. Reads in pieces; keeps only what verification needs.
    """
    if directory.end - directory.start > limits.zip_directory:
        raise PackageRejected("limit-zip-directory", detail=f"{limits.zip_directory} bytes are accepted")
    if directory.entries > limits.members:
        raise PackageRejected("limit-members", detail=f"{limits.members} are accepted")
    if directory.entries == 0:
        raise PackageRejected("container-empty")
    members: list[ZipMember] = []
    warnings: list[tuple[str, str | None]] = []
    position = directory.start
    rest = b""
    room = PathRoom(limits)
    while position < directory.end:
        piece = source.read(position, min(_PIECE, directory.end - position))
        if not piece:
            raise ObjectChanged("the archive was changed while it was being read")
        position += len(piece)
        data, known = rest + piece, len(members)
        used = _entries(data, members, warnings, limits, directory, plain)
        room.take(map(_PATH, members[known:]))
        rest = data[used:]
    if rest or len(members) != directory.entries:
        raise PackageRejected(
            "zip-directory", detail=f"{len(members)} whole entries where {directory.entries} were announced"
        )
    members.sort(key=lambda member: member.start)
    _check_tiling(members, directory)
    return members, warnings


def _entries(
    data: bytes,
    members: list[ZipMember],
    warnings: list[tuple[str, str | None]],
    limits: Limits,
    directory: Directory,
    plain: PlainNames,
) -> int:
    """Parse the whole entries in `data`; gives the number of bytes used."""
    position, size_of_data = 0, len(data)
    unpack, append, new = _CENTRAL.unpack_from, members.append, ZipMember._make
    while position + 46 <= size_of_data:
        (
            signature, made_by, _, flags, method, _, _, crc, stored, size,
            name_length, extra_length, comment_length, disk, _, attributes, start,
        ) = unpack(data, position)  # fmt: skip
        if signature != _CENTRAL_SIGNATURE:
            raise PackageRejected("zip-directory", detail="an entry does not begin as one")
        end = position + 46 + name_length + extra_length + comment_length
        if end > size_of_data:
            break
        raw = data[position + 46 : position + 46 + name_length]
        extra = data[position + 46 + name_length : end - comment_length] if extra_length else b""
        position = end
        field = None
        if extra_length:
            fields = extra_fields(extra, raw)
            size, stored, start = zip64_values(fields.get(1), size, stored, start, raw)
            field = fields.get(0x7075)
        try:
            name = raw.decode() if field is None else _name(raw, field)
        except UnicodeDecodeError:
            raise PackageRejected("zip-name", raw.decode("utf-8", "backslashreplace"), "not UTF-8") from None
        if flags & (_ENCRYPTED | _STRONG | _MASKED):
            raise PackageRejected("member-encrypted", name)
        if method == STORED:
            if stored != size:
                raise PackageRejected("member-size", name, "a stored member with two different sizes")
        elif method != DEFLATED:
            raise PackageRejected("zip-method", name, f"method {method}")
        if disk and disk != _MAX16:
            raise PackageRejected("zip-end-record", name, "the archive is split over several disks")
        if name in plain:
            path, is_directory, written = name, False, None
        else:
            path, is_directory = member_path(name, limits, plain) or ("", True)
            written = None if path == name and field is None else raw
            if not flags & _UTF8 and not name.isascii():
                warnings.append(("zip-name-flag", name))
        if made_by >> 8 in _UNIX and attributes >> 28 not in (0, 0x4 if is_directory else 0x8):
            known = attributes >> 28 in (0x4, 0x8)
            raise PackageRejected("zip-file-type" if known else "member-type", name)
        if is_directory and (size or crc):
            raise PackageRejected("directory-with-data", name)
        append(new((path, size, is_directory, start, stored, crc, flags, method, written, name_length)))
        if len(members) > directory.entries:
            raise PackageRejected("zip-directory", detail="more entries than were announced")
    return position


def _name(raw: bytes, unicode_path: bytes) -> str:
    """The name of a member that has Info-ZIP's Unicode path field (Z8); that must agree with a name in UTF-8."""
    shown = raw.decode("utf-8", "backslashreplace")
    if len(unicode_path) < 5 or unicode_path[0] != 1:
        raise PackageRejected("zip-extra", shown, "malformed Unicode path")
    if int.from_bytes(unicode_path[1:5], "little") != zlib.crc32(raw):
        raise PackageRejected("zip-name", shown, "its Unicode path belongs to another name")
    try:
        named = unicode_path[5:].decode()
    except UnicodeDecodeError:
        raise PackageRejected("zip-name", shown, "its Unicode path is not UTF-8") from None
    if named != shown and _is_utf8(raw):
        raise PackageRejected("zip-name", shown, "its Unicode path differs")
    return named


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def extra_fields(extra: bytes, name: bytes) -> dict[int, bytes]:
    """Extra fields by id; raises PackageRejected when they do not parse to the end or a watched one repeats (Z9)."""
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(extra):
        if position + 4 > len(extra):
            raise PackageRejected("zip-extra", name.decode("utf-8", "backslashreplace"))
        kind = extra[position] | extra[position + 1] << 8
        length = extra[position + 2] | extra[position + 3] << 8
        position += 4
        if position + length > len(extra) or (kind in (1, 0x7075) and kind in fields):
            raise PackageRejected("zip-extra", name.decode("utf-8", "backslashreplace"))
        if kind == 0x9901:
            raise PackageRejected("member-encrypted", name.decode("utf-8", "backslashreplace"))
        fields[kind] = extra[position : position + length]
        position += length
    return fields


def zip64_values(field: bytes | None, size: int, stored: int, start: int | None, name: bytes) -> tuple[int, int, int]:
    """Size, compressed size and start (None: a local header has none) with the zip64 field applied (Z9)."""
    given = [size, stored] if start is None else [size, stored, start]
    if field is None:
        return size, stored, start or 0
    missing = [place for place, value in enumerate(given) if value == MAX32]
    shown = name.decode("utf-8", "backslashreplace")
    if len(field) % 8 not in (0, 4) or len(field) > 28:
        raise PackageRejected("zip-extra", shown, "zip64 field of an odd length")
    values = [int.from_bytes(field[at : at + 8], "little") for at in range(0, len(field) - len(field) % 8, 8)]
    if len(values) == len(missing):
        for place, value in zip(missing, values, strict=True):
            given[place] = value
    elif len(values) in (2, 3):
        for place, value in enumerate(values[: len(given)]):
            if given[place] not in (MAX32, value):
                raise PackageRejected("zip-extra", shown, "zip64 field contradicts the header")
            given[place] = value
    else:
        raise PackageRejected("zip-extra", shown, "zip64 field with other values than needed")
    return given[0], given[1], given[2] if start is not None else 0


def _check_tiling(members: list[ZipMember], directory: Directory) -> None:
    """Sorted by offset, members fill the range before the central directory: no gap, no overlap (Z4).

    The local extra field's length is not known yet; `zip_reader` checks the rest when it reads the header.
    """
    if members[0].start != 0:
        raise PackageRejected("zip-tiling", members[0].path, "bytes before the first member")
    for member, end in zip(members, stops(members, directory), strict=True):
        slack = end - member.start - LOCAL.size - member.name_length - member.stored
        most = _MAX16 + (24 if member.flags & DESCRIPTOR else 0)
        if not 0 <= slack <= most:
            raise PackageRejected("zip-tiling", member.path)


def stops(members: list[ZipMember], directory: Directory) -> list[int]:
    """Where each member ends: at the next one, the last at the central directory."""
    return [*(member.start for member in members[1:]), directory.start]
