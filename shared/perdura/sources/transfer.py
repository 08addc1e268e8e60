"""One file from the upstream into the store: streamed once, hashed on the way, judged before it becomes visible.

A broken connection goes on where it broke when the server can do so under a strong ETag, and starts over when it
cannot (harvesting.md 6.2, 6.3). What does not match its declaration is fetched once more and then refused with both
values.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from perdura.clients.http import Stream, decoded, redacted, status_error
from perdura.errors import Rejected, UpstreamUnavailable
from perdura.sources.announced import announced
from perdura.sources.hashing import ThreadedDigests
from perdura.sources.origin import Origin
from perdura.sources.plan import PlannedFile
from perdura.storage.digests import HEX_LENGTHS, Digests
from perdura.storage.store import Store, Writer

BAG_ALGORITHMS = ("md5", "sha256", "sha512")
"""Digests of every file: those of the manifests."""

SMALL = 1 << 20
"""Files up to this size in bytes are stored with one request."""

LARGE = 8 << 20
"""Files above this size in bytes are hashed beside their transfer."""

ATTEMPTS = 3
"""Connections that may break over one file within one invocation; the last one gives the file back."""

_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-(?P<last>\d+)/(?P<total>\d+|\*)")
_HTML_NAME = re.compile(r"\.(?:x?html?|php|aspx?)$", re.IGNORECASE)


class FileRefused(Rejected):
    """A file is not what the upstream declared, or cannot be had. `expected` and `found` are the two values."""

    code = "file-refused"

    def __init__(
        self, message: str, *, code: str, path: str, expected: str | None = None, found: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.path = path
        self.expected = expected
        self.found = found


class OutOfTime(Exception):
    """The invocation's time is nearly used: stop, and let the next one begin this file again.

    `done` counts the files that are stored: what the next one need not do.
    """

    def __init__(self, done: int = 0) -> None:
        super().__init__(done)
        self.done = done


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the store: its path in the bag, its size, all its digests; `compared` names those that the upstream
    had declared. `encoding` and `wire_sha256` are set when the server compressed the bytes on the way."""

    path: str
    size: int
    checksums: Mapping[str, str]
    compared: tuple[str, ...] = ()
    etag: str | None = None
    encoding: str | None = None
    wire_sha256: str | None = None
    attempts: int = field(default=1, compare=False)


def fetch(
    file: PlannedFile,
    origin: Origin,
    store: Store,
    bucket: str,
    key: str,
    *,
    out_of_time: Callable[[], bool] = lambda: False,
    seconds: float = 3600,
) -> Fetched:
    """Transfer one file; on return it is stored under `key` and matches everything its upstream declared.

    Raises FileRefused; UpstreamUnavailable; OutOfTime; what the store raises. Nothing is visible then.
    """
    patience = _Patience()
    mismatch: FileRefused | None = None
    for attempt in itertools.count(1):
        try:
            done = _Attempt(file, origin, store, bucket, key, out_of_time, seconds, patience).run()
        except FileRefused as refused:
            if mismatch is not None or refused.code not in ("checksum-mismatch", "size-mismatch"):
                raise
            mismatch = refused
        except _StartOver:
            continue
        else:
            return replace(done, attempts=attempt)
    raise AssertionError("unreachable")


class _StartOver(Exception):
    """The connection broke and the server cannot go on where it broke."""


class _Patience:
    """How many more broken connections one file may cost in this invocation."""

    def __init__(self) -> None:
        self._left = ATTEMPTS

    def lose(self, broken: UpstreamUnavailable) -> None:
        """Forgive one; raises what was to be forgiven when there were too many, or when the server asked to wait."""
        self._left -= 1
        if self._left <= 0 or broken.retry_after is not None:
            raise broken


class _Attempt:
    """One pass over a file, with as many resumptions as the connection needs."""

    def __init__(
        self,
        file: PlannedFile,
        origin: Origin,
        store: Store,
        bucket: str,
        key: str,
        out_of_time: Callable[[], bool],
        seconds: float,
        patience: _Patience,
    ) -> None:
        self.patience = patience
        self.file = file
        self.origin = origin
        self.store = store
        self.bucket = bucket
        self.key = key
        self.out_of_time = out_of_time
        self.seconds = seconds
        self.position = 0
        self.etag: str | None = None
        self.encoding: str | None = None
        self.is_html = False
        self.wire = Digests(("sha256",))
        self.declared = dict(file.checksums)
        algorithms = {*BAG_ALGORITHMS, *(set(file.checksums) & set(HEX_LENGTHS))}
        large = file.size is not None and file.size > LARGE
        self.digests = ThreadedDigests(algorithms) if large else Digests(algorithms)

    def run(self) -> Fetched:
        try:
            return self._run()
        finally:
            if isinstance(self.digests, ThreadedDigests):
                self.digests.close()

    def _run(self) -> Fetched:
        small = self.file.size is not None and self.file.size <= SMALL
        if small:
            buffer = bytearray()
            self._receive(buffer.extend)
            done = self._judged()
            self.store.put(self.bucket, self.key, bytes(buffer), content_type=self._media_type())
            return done
        with self._writer() as writer:
            self._receive(writer.write)
            done = self._judged()
            writer.finish()
            return done

    def _writer(self) -> Writer:
        return self.store.writer(
            self.bucket, self.key, size=self.file.size, algorithms=(), content_type=self._media_type()
        )

    def _media_type(self) -> str:
        return self.file.media_type or "application/octet-stream"

    def _receive(self, write: Callable[[bytes], object]) -> None:
        while True:
            try:
                return self._receive_once(write)
            except UpstreamUnavailable as broken:
                self.patience.lose(broken)
                if self.position == 0 or self.etag is None or self.encoding is not None:
                    raise _StartOver from broken

    def _receive_once(self, write: Callable[[bytes], object]) -> None:
        headers = {"Accept": "*/*"}
        if self.position:
            headers |= {"Range": f"bytes={self.position}-", "If-Range": self.etag or ""}
        with ExitStack() as stack:
            stream = stack.enter_context(
                self.origin.stream(self.file.url, headers=headers, total_seconds=self.seconds, decode=False)
            )
            self._admit(stream)
            for data in self._decoded(stream):
                if self.out_of_time():
                    raise OutOfTime
                self.position += len(data)
                if self.file.size is not None and self.position > self.file.size:
                    raise self._refused("size-mismatch", str(self.file.size), f"more than {self.file.size}")
                self.digests.update(data)
                write(data)

    def _admit(self, stream: Stream) -> None:
        """Judge status and headers before any byte is taken."""
        if self.position:
            match = _CONTENT_RANGE.fullmatch(stream.header("content-range") or "")
            if stream.status == 206 and match and int(match["first"]) == self.position:
                return
            if stream.status in (200, 206, 416):
                self.patience.lose(UpstreamUnavailable(f"{redacted(stream.url)} cannot resume."))
                raise _StartOver
        if stream.status != 200:
            error = status_error(stream.status, stream.headers, stream.url)
            if isinstance(error, Rejected):
                raise FileRefused(error.message, code=error.code, path=self.file.path, found=str(stream.status))
            raise error
        tag = stream.header("etag")
        self.etag = tag if tag and not tag.startswith("W/") else None
        coding = (stream.header("content-encoding") or "identity").strip().lower()
        self.encoding = None if coding == "identity" else coding
        if self.encoding is None:
            self.declared = {**announced(stream.headers), **self.file.checksums}
        self.is_html = _media(stream.header("content-type")) in ("text/html", "application/xhtml+xml")
        if self.is_html and not self._html_expected() and not self.declared:
            raise self._refused("html-instead-of-file", self.file.media_type or "a file", "an HTML page")

    def _decoded(self, stream: Stream) -> Iterator[bytes]:
        if self.encoding is None:
            return stream.chunks
        return decoded(self._on_the_wire(stream), self.encoding, stream.url)

    def _on_the_wire(self, stream: Stream) -> Iterator[bytes]:
        for chunk in stream.chunks:
            self.wire.update(chunk)
            yield chunk

    def _html_expected(self) -> bool:
        declared = _media(self.file.media_type)
        return declared in ("text/html", "application/xhtml+xml") or bool(_HTML_NAME.search(self.file.key))

    def _judged(self) -> Fetched:
        """Compare what came with what was declared."""
        size, values = self.position, self.digests.hexdigests()
        surprise = self.is_html and not self._html_expected()
        if self.file.size is not None and size != self.file.size:
            raise self._refused(
                "html-instead-of-file" if surprise else "size-mismatch", f"{self.file.size} bytes", f"{size} bytes"
            )
        if size == 0 and self.file.size is None:
            raise self._refused("empty-body", "a file", "no bytes")
        compared = []
        for algorithm, declared in sorted(self.declared.items()):
            if algorithm not in values:
                continue
            if values[algorithm] != declared:
                raise self._refused(
                    "html-instead-of-file" if surprise else "checksum-mismatch",
                    f"{algorithm}:{declared}",
                    f"{algorithm}:{values[algorithm]}",
                )
            compared.append(algorithm)
        return Fetched(
            path=self.file.path,
            size=size,
            checksums=values,
            compared=tuple(compared),
            etag=self.etag,
            encoding=self.encoding,
            wire_sha256=self.wire.hexdigests()["sha256"] if self.encoding else None,
        )

    def _refused(self, code: str, expected: str, found: str) -> FileRefused:
        message = f"{self.file.key}: the repository declared {expected}, it sent {found}."
        return FileRefused(message, code=code, path=self.file.path, expected=expected, found=found)


def _media(value: str | None) -> str:
    return (value or "").partition(";")[0].strip().lower()
