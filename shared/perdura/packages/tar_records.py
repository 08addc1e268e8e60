"""Tar headers of every dialect, parsed as strictly as rules T1 to T7 of packages.md 2.4 want (POSIX pax, GNU)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from perdura.packages.names import PathRoom, PlainNames, member_path
from perdura.packages.rules import PackageRejected

if TYPE_CHECKING:
    from perdura.packages.limits import Limits

BLOCK = 512
_ZEROS = bytes(BLOCK)
_FILES = frozenset({b"0", b"\0", b"7"})
_DIRECTORY, _PAX, _GLOBAL, _LONG_NAME = b"5", b"x", b"g", b"L"
_LARGEST = 2**63
_DIGITS = 20
"""Of a size, leading zeros included."""


class TarMember(NamedTuple):
    """One file or directory; `start` is where its body begins in the (uncompressed) tar."""

    path: str
    size: int
    is_directory: bool
    start: int


class Forward(Protocol):
    """A tar read front to back."""

    @property
    def position(self) -> int:
        """Bytes consumed so far."""
        ...

    def take(self, length: int) -> bytes:
        """The next bytes, fewer only at the end."""
        ...

    def skip(self, length: int) -> None:
        """Pass over bytes; raises PackageRejected (tar-truncated) when there are not so many."""
        ...


@dataclass(slots=True)
class _Metadata:
    """What extended headers said of the member to come."""

    path: str | None = None
    size: int | None = None
    present: bool = False


def is_header(block: bytes) -> bool:
    """Whether the checksum of a header block is right: unsigned, or signed as some old writers did (T1)."""
    if len(block) < BLOCK:
        return False
    try:
        declared = _number(block[148:156])
    except ValueError:
        return False
    field = block[148:156]
    unsigned = sum(block) - sum(field) + 8 * 32
    if declared == unsigned:
        return True
    high = sum(1 for byte in block if byte > 127) - sum(1 for byte in field if byte > 127)
    return declared == unsigned - 256 * high


def walk(stream: Forward, limits: Limits, plain: PlainNames) -> Iterator[TarMember]:
    """All members in order; whoever iterates reads the body (or leaves it) before asking for the next.

    The body must be passed completely: `skip` what was not read. Raises PackageRejected.
    """
    metadata, room = _Metadata(), PathRoom(limits)
    members = 0
    while True:
        block = stream.take(BLOCK)
        if len(block) < BLOCK:
            raise PackageRejected("tar-end" if not block else "tar-truncated")
        if block == _ZEROS:
            break
        if not is_header(block):
            raise PackageRejected("tar-header")
        kind = block[156:157]
        if kind in (_PAX, _GLOBAL, _LONG_NAME):
            body = _metadata_body(stream, block, limits)
            if kind == _LONG_NAME:
                _set_path(metadata, body.rstrip(b"\0"))
            else:
                _pax(body, metadata, is_global=kind == _GLOBAL)
            metadata.present = metadata.present or kind != _GLOBAL
            continue
        members += 1
        if members > limits.members:
            raise PackageRejected("limit-members", detail=f"{limits.members} are accepted")
        member = _member(stream, block, kind, metadata, limits, plain)
        room.take((member.path,))
        metadata = _Metadata()
        padding = -member.size % BLOCK
        yield member
        stream.skip(member.start + member.size + padding - stream.position)
    if metadata.present:
        raise PackageRejected("tar-metadata", detail="an extended header without a member")
    if members == 0:
        raise PackageRejected("container-empty")


def _member(
    stream: Forward, block: bytes, kind: bytes, metadata: _Metadata, limits: Limits, plain: PlainNames
) -> TarMember:
    name = metadata.path if metadata.path is not None else _header_name(block)
    if kind in _FILES:
        is_directory = False
    elif kind == _DIRECTORY:
        is_directory = True
    else:
        raise PackageRejected("tar-type", name, f"type {kind.decode('latin-1')!r}")
    if block[157:257].strip(b"\0") and kind not in _FILES:
        raise PackageRejected("tar-type", name, "a directory with a link target")
    declared = _size(block)
    size = declared
    if metadata.size is not None:
        if declared not in (0, metadata.size):
            raise PackageRejected("tar-size", name)
        size = metadata.size
    found = member_path(name, limits, plain)
    path, named_directory = found if found is not None else ("", True)
    if named_directory and not is_directory:
        # Old writers name a directory by its trailing slash only; so do some for `./` itself.
        is_directory = True
    if is_directory and size:
        raise PackageRejected("directory-with-data", name)
    return TarMember(path, size, is_directory, stream.position)


def _metadata_body(stream: Forward, block: bytes, limits: Limits) -> bytes:
    size = _size(block)
    if size > limits.tar_metadata:
        raise PackageRejected("limit-tar-metadata", detail=f"{limits.tar_metadata} bytes are accepted")
    body = stream.take(size)
    if len(body) < size:
        raise PackageRejected("tar-truncated")
    stream.skip(-size % BLOCK)
    return body


def _pax(body: bytes, metadata: _Metadata, *, is_global: bool) -> None:
    """Apply pax records `length key=value` (T2, T3)."""
    seen: dict[bytes, bytes] = {}
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 20)
        digits = body[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise PackageRejected("tar-metadata")
        end = position + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or end <= space or body[end - 1 : end] != b"\n" or not equals:
            raise PackageRejected("tar-metadata")
        if seen.setdefault(key, value) != value:
            raise PackageRejected("tar-metadata", detail="a record repeats with another value")
        position = end
    for key, value in seen.items():
        if is_global:
            if key != b"comment":
                raise PackageRejected("tar-metadata", detail="a global header that sets more than a comment")
        elif key == b"path":
            _set_path(metadata, value)
        elif key == b"size":
            if not value.isdigit() or len(value) > _DIGITS or int(value) >= _LARGEST:
                raise PackageRejected("tar-size")
            if metadata.size not in (None, int(value)):
                raise PackageRejected("tar-size")
            metadata.size = int(value)
        elif key == b"linkpath" or key.startswith(b"GNU.sparse."):
            raise PackageRejected("tar-type", metadata.path, "a link or a sparse file")
        elif key == b"hdrcharset" and value not in (b"ISO-IR 10646 2000 UTF-8", b"BINARY"):
            raise PackageRejected("tar-metadata", detail="an unknown character set")


def _set_path(metadata: _Metadata, raw: bytes) -> None:
    path = _text(raw)
    if metadata.path not in (None, path):
        raise PackageRejected("tar-metadata", metadata.path, "two different names for one member")
    metadata.path = path


def _header_name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        if prefix:
            name = prefix + b"/" + name
    return _text(name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise PackageRejected("tar-name", raw[:900].decode("utf-8", "backslashreplace")) from None


def _size(block: bytes) -> int:
    try:
        size = _number(block[124:136])
    except ValueError:
        raise PackageRejected("tar-size") from None
    if not 0 <= size < _LARGEST:
        raise PackageRejected("tar-size")
    return size


def _number(field: bytes) -> int:
    """A number in octal, or in GNU's base 256 (T4); raises ValueError."""
    if field[0] & 0x80:
        if field[0] == 0xFF:
            raise ValueError("a negative number")
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    if not text:
        return 0
    if not all(0x30 <= byte <= 0x37 for byte in text):
        raise ValueError("not octal")
    return int(text, 8)
