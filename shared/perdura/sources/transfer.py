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
from perdura.errors import NotStored, Rejected, UpstreamUnavailable
from perdura.packages.long_digest import resumes
from perdura.sources.announced import announced
from perdura.sources.hashing import Marked, Saved, ThreadedDigests
from perdura.sources.origin import Origin
from perdura.sources.partial import Partial, keep, kept
from perdura.sources.plan import PlannedFile
from perdura.storage.digests import HEX_LENGTHS, Digests
from perdura.storage.kept_open import KeptOpenWriter
from perdura.storage.parts import Upload
from perdura.storage.store import Store

BAG_ALGORITHMS = ("md5", "sha256", "sha512")
"""Digests of every file: those of the manifests."""

SMALL = 1 << 20
"""Files up to this size in bytes are stored with one request."""

LARGE = 8 << 20
"""Files above this size in bytes, and of unknown size, are hashed beside their transfer and can be continued."""

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
    """The invocation's time is nearly used: stop, and let the next one go on.

    `done` counts the files that are stored, `position` the bytes that are kept of files begun: what the next one need
    not do.
    """

    def __init__(self, done: int = 0, position: int = 0) -> None:
        super().__init__(done, position)
        self.done = done
        self.position = position


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
    partial: str | None = None,
    most: int | None = None,
) -> Fetched:
    """Transfer one file; on return it is stored under `key` and matches everything its upstream declared.

    A file of more than `most` bytes is refused. `partial` is the key under which a large file that was not finished is
    noted, and gone on with the next time. Raises FileRefused; UpstreamUnavailable; OutOfTime; what the store raises.
    Nothing is visible then.
    """
    if most is not None and (file.size or 0) > most:
        raise _too_large(file, str(file.size), most)
    patience = _Patience()
    again = False
    for number in itertools.count(1):
        attempt = _Attempt(file, origin, store, bucket, key, out_of_time, seconds, patience, partial, again, most)
        try:
            done = attempt.run()
        except FileRefused as refused:
            if attempt.again or refused.code not in ("checksum-mismatch", "size-mismatch"):
                raise
            again = True
        except _StartOver:
            continue
        else:
            return replace(done, attempts=number)
    raise AssertionError("unreachable")


def _too_large(file: PlannedFile, found: str, most: int) -> FileRefused:
    message = f"{file.key}: has {found} bytes; files of at most {most} bytes are harvested."
    return FileRefused(message, code="file-too-large", path=file.path, expected=f"at most {most}", found=found)


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
        partial: str | None,
        again: bool,
        most: int | None,
    ) -> None:
        self.most = most
        self.partial = partial
        self.again = again
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
        self.wire: Digests | None = None
        self.declared = dict(file.checksums)
        self.algorithms = {*BAG_ALGORITHMS, *(set(file.checksums) & set(HEX_LENGTHS))}
        self.digests: Digests | ThreadedDigests = Digests(self.algorithms)
        self.mark: tuple[int, Marked] | None = None

    def run(self) -> Fetched:
        if self.file.size is None or self.file.size > LARGE:
            return self._run_large()
        if self.file.size <= SMALL:
            buffer = bytearray()
            self._receive(self._hashed(buffer.extend))
            done = self._judged()
            self.store.put(self.bucket, self.key, bytes(buffer), content_type=self._media_type())
            return done
        with self.store.writer(
            self.bucket, self.key, size=self.file.size, algorithms=(), content_type=self._media_type()
        ) as writer:
            self._receive(self._hashed(writer.write))
            done = self._judged()
            writer.finish()
            return done

    def _hashed(self, write: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def take(data: bytes) -> None:
            self.digests.update(data)
            write(data)

        return take

    def _run_large(self) -> Fetched:
        """Hashed beside the transfer; what is stored when the time is over or the upstream gives up is kept."""
        done = self._written()
        if done is None:
            raise _StartOver
        return done

    def _written(self) -> Fetched | None:
        """The file in the store; None when its upload was given up, as the server cannot go on with it."""
        with ExitStack() as stack:
            writer, saved = self._resumed() or (self._writer(None), {})
            stack.enter_context(writer)
            self.digests = digests = ThreadedDigests(self.algorithms, saved)
            stack.callback(digests.close)
            try:
                self._receive(lambda data: self._write(writer, data))
            except _StartOver:
                return None
            except (OutOfTime, UpstreamUnavailable) as stopped:
                kept = self._put_down(writer)
                if isinstance(stopped, OutOfTime):
                    raise OutOfTime(position=kept) from stopped
                raise
            done = self._judged()
            writer.finish()
            return done

    def _writer(self, upload: Upload | None) -> KeptOpenWriter:
        return KeptOpenWriter(
            self.store, self.bucket, self.key, size=self.file.size, content_type=self._media_type(),
            resumed=upload, position=self.position,
        )  # fmt: skip

    def _resumed(self) -> tuple[KeptOpenWriter, Saved] | None:
        """Go on where an earlier invocation stopped; None when nothing of it is there."""
        if self.partial is None or not resumes(tuple(self.algorithms)):
            return None
        noted = kept(self.store, self.bucket, self.partial, self.file.url)
        if noted is None or noted.states.keys() != self.algorithms:
            return None
        self.position = noted.position
        try:
            writer = self._writer(Upload(self.bucket, self.key, noted.upload))
        except NotStored:
            self.position = 0
            return None
        self.etag, self.declared, self.again = noted.etag, dict(noted.declared), noted.again
        return writer, noted.states

    def _write(self, writer: KeptOpenWriter, data: bytes) -> None:
        while data:
            piece, data = (data, b"") if len(data) <= writer.room else (data[: writer.room], data[writer.room :])
            self.digests.update(piece)
            if writer.write(piece) and isinstance(self.digests, ThreadedDigests) and self.digests.resumable:
                self.mark = writer.position, self.digests.mark()

    def _put_down(self, writer: KeptOpenWriter) -> int:
        """Note what is stored, for the next invocation; gives how many bytes that are."""
        if self.partial is None or self.mark is None or self.etag is None or self.encoding is not None:
            return 0
        position, mark = self.mark
        states, upload = mark.states(), writer.put_down()
        if upload is None:
            return 0
        note = Partial(self.file.url, upload.id, position, self.etag, self.declared, states, self.again)
        keep(self.store, self.bucket, self.partial, note)
        return position

    def _media_type(self) -> str:
        return self.file.media_type or "application/octet-stream"

    def _receive(self, take: Callable[[bytes], object]) -> None:
        while True:
            try:
                return self._receive_once(take)
            except UpstreamUnavailable as broken:
                self.patience.lose(broken)
                if self.position == 0 or self.etag is None or self.encoding is not None:
                    raise _StartOver from broken

    def _receive_once(self, take: Callable[[bytes], object]) -> None:
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
                if self.most is not None and self.position > self.most:
                    raise _too_large(self.file, f"more than {self.most}", self.most)
                take(data)

    def _admit(self, stream: Stream) -> None:
        """Judge status and headers before any byte is taken."""
        if self.position:
            match = _CONTENT_RANGE.fullmatch(stream.header("content-range") or "")
            if stream.status == 206 and match and int(match["first"]) == self.position and self._same(stream, match):
                return
            if stream.status in (200, 206, 416):
                self.patience.lose(UpstreamUnavailable(f"{redacted(stream.url)} cannot resume."))
                raise _StartOver
        if stream.status != 200:
            error = status_error(stream.status, stream.headers, stream.url)
            if isinstance(error, Rejected):
                raise FileRefused(
                    error.message,
                    code=error.code,
                    path=self.file.path,
                    expected="status 200",
                    found=f"status {stream.status}",
                )
            raise error
        tag = stream.header("etag")
        self.etag = tag if tag and not tag.startswith("W/") else None
        self.encoding = _coding(stream)
        if self.encoding is None:
            self.declared = {**announced(stream.headers), **self.file.checksums}
        self.is_html = _media(stream.header("content-type")) in ("text/html", "application/xhtml+xml")
        # What a page announces of itself says nothing of the file: only what the record declares can tell it apart.
        if self.is_html and not self._html_expected() and not self.file.checksums.keys() & HEX_LENGTHS.keys():
            raise self._refused("html-instead-of-file", self.file.media_type or "a file", "an HTML page")

    def _same(self, stream: Stream, told: re.Match[str]) -> bool:
        """Whether a part is of the file that was begun: a server may forget `If-Range`, or compress the part alone."""
        size = str(self.file.size) if self.file.size is not None else told["total"]
        return _coding(stream) is None and stream.header("etag") in (None, self.etag) and told["total"] in ("*", size)

    def _decoded(self, stream: Stream) -> Iterator[bytes]:
        if self.encoding is None:
            return stream.chunks
        return decoded(self._on_the_wire(stream), self.encoding, stream.url)

    def _on_the_wire(self, stream: Stream) -> Iterator[bytes]:
        self.wire = wire = Digests(("sha256",))
        for chunk in stream.chunks:
            wire.update(chunk)
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
        if size == 0 and self.file.size is None and not compared:
            raise self._refused("empty-body", "a file", "no bytes")
        return Fetched(
            path=self.file.path,
            size=size,
            checksums=values,
            compared=tuple(compared),
            etag=self.etag,
            encoding=self.encoding,
            wire_sha256=self.wire.hexdigests()["sha256"] if self.wire else None,
        )

    def _refused(self, code: str, expected: str, found: str) -> FileRefused:
        message = f"{self.file.key}: the repository declared {expected}, it sent {found}."
        return FileRefused(message, code=code, path=self.file.path, expected=expected, found=found)


def _coding(stream: Stream) -> str | None:
    """The content coding of an answer; None where it has none."""
    coding = (stream.header("content-encoding") or "identity").strip().lower()
    return None if coding == "identity" else coding


def _media(value: str | None) -> str:
    return (value or "").partition(";")[0].strip().lower()
