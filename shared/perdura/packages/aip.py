"""Writes an AIP: a BagIt 1.0 bag in an uncompressed tar, in one pass over its bytes (RFC 8493; packages.md §6).

The payload comes first, because its digests are only known once it went by; `bag-info.txt` and manifests follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from perdura.errors import Rejected
from perdura.packages.aip_digests import MemberDigests
from perdura.packages.aip_members import Member, Members
from perdura.packages.manifests import encode_path
from perdura.packages.tar import END, header, padding
from perdura.storage.digests import Digest, adler32, new_digest

METS = "data/metadata/METS.xml"

_MANIFEST_ALGORITHMS = ("sha256", "sha512")
_THREADED_FROM = 256 << 10
_GATHERED = 1 << 20

Chunk = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in the bag the payload lies, and where what came with the submission."""

    objects: str
    submission: str


PLAIN = Layout("data/objects/", "data/metadata/submission/")


class Sink(Protocol):
    """Where the bytes of the tar go; a store's Writer is one."""

    @property
    def position(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, data: Chunk) -> None:
        """Append bytes."""
        ...


class AipWriter:
    """Adds files to an AIP one after the other and ends it with manifests that list them all."""

    def __init__(self, sink: Sink, base: str, created: datetime) -> None:
        """`base` names the only top-level directory; `created` is the time that every member carries."""
        self._sink = sink
        self._base = base
        self._mtime = int(created.timestamp())
        self._gathered = bytearray()
        self._payload, self._tags = Members(), Members()
        self._hashers = ThreadPoolExecutor(2, thread_name_prefix="aip-hash")
        self._text("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hashers.shutdown()

    @property
    def payload(self) -> Members:
        """The payload written so far."""
        return self._payload

    @property
    def tags(self) -> Sequence[Member]:
        """The tag files written so far."""
        return self._tags

    def add(
        self,
        path: str,
        size: int,
        chunks: Iterable[Chunk],
        *,
        algorithms: Sequence[str] = (),
        tap: Callable[[Chunk], None] | None = None,
    ) -> tuple[Member, Mapping[str, str]]:
        """Write one file of exactly `size` bytes and hash it on the way.

        Gives back the member and the digests of the further `algorithms` in lower-case hex; `tap` sees every
        chunk. Raises Rejected when the file turns out to be longer or shorter.
        """
        self._put(header(f"{self._base}/{path}", size, self._mtime))
        offset = self._sink.position + len(self._gathered)
        sha256, sha512 = hashlib.sha256(), hashlib.sha512()
        others = {name: new_digest(name) for name in algorithms}
        checksum, seen = 1, 0
        for chunk in chunks:
            seen += len(chunk)
            if seen > size:
                break
            hashed = self._hash((sha256, sha512, *others.values()), chunk)
            checksum = adler32(chunk, checksum)
            if tap is not None:
                tap(chunk)
            self._put(chunk)
            for work in hashed:
                work.result()
        if seen != size:
            raise Rejected(f"{path} has not the {size} bytes that its package declares", code="size-mismatch")
        self._put(padding(size))
        member = Member(path, offset, size, MemberDigests(sha256.digest(), sha512.digest(), checksum))
        (self._payload if path.startswith("data/") else self._tags).append(member)
        return member, {name: digest.hexdigest() for name, digest in others.items()}

    def finish(self, bag_info: Sequence[tuple[str, str]]) -> None:
        """Write `bag-info.txt` (with Payload-Oxum), both manifests and both tag manifests, and end the tar."""
        oxum = f"{self._payload.size}.{len(self._payload)}"
        fields = [*bag_info, ("Payload-Oxum", oxum)]
        self._text("bag-info.txt", "".join(f"{label}: {_one_line(value)}\n" for label, value in fields))
        order = self._payload.in_order()
        for algorithm in _MANIFEST_ALGORITHMS:
            self._manifest(f"manifest-{algorithm}.txt", algorithm, self._payload, order)
        order = self._tags.in_order()
        for algorithm in _MANIFEST_ALGORITHMS:
            self._manifest(f"tagmanifest-{algorithm}.txt", algorithm, self._tags, order)
        self._put(END)
        self._flush()

    def _manifest(self, path: str, algorithm: str, members: Members, order: Sequence[int]) -> None:
        size = sum(len(line) for line in manifest_lines(algorithm, (members[place] for place in order)))
        self.add(path, size, manifest_lines(algorithm, (members[place] for place in order)))

    def _text(self, path: str, text: str) -> None:
        body = text.encode()
        self.add(path, len(body), (body,))

    def _hash(self, hashes: Sequence[Digest], chunk: Chunk) -> list[Future[None]]:
        if len(chunk) >= _THREADED_FROM:
            return [self._hashers.submit(each.update, chunk) for each in hashes]
        for each in hashes:
            each.update(chunk)
        return []

    def _put(self, data: Chunk) -> None:
        if len(data) >= _THREADED_FROM:
            self._flush()
            self._sink.write(data)
            return
        self._gathered += data
        if len(self._gathered) >= _GATHERED:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._sink.write(bytes(self._gathered))
            self._gathered.clear()


def manifest_lines(algorithm: str, members: Iterable[Member]) -> Iterator[bytes]:
    """Lines of a manifest, with two spaces as `sha512sum -c` wants them (RFC 8493 2.1.3)."""
    for member in members:
        yield f"{member.digests[algorithm]}  {encode_path(member.path)}\n".encode()


def _one_line(value: str) -> str:
    """A bag-info value without line ends, which would begin another field (RFC 8493 2.2.2)."""
    return " ".join(value.split())
