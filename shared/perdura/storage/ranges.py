"""Ranged reads by presigned URL over kept-alive connections into reused buffers.

Seven times cheaper per request than the client library and half the cost per byte (packages.md 5.3).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from perdura.errors import ObjectChanged, PerduraError, StoreUnavailable
from perdura.storage.endpoint import meaning
from perdura.storage.kept_connections import BROKEN_TRANSPORT, KeptConnections
from perdura.storage.store import ObjectRef

AHEAD = 64 * 2**20
"""Bytes of a long stream that are asked for at once. The next as many are asked for before they are needed, on another
connection: the store reads on while what came is digested, and spends a third less on two ranges than on one."""

_ATTEMPTS = 5
_KEPT_URLS = 256
_URL_SECONDS = 3600


class _Transient(Exception):
    """The answer broke off or the store was busy; `cause` is what to raise when it stays so."""

    def __init__(self, cause: PerduraError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class _Answer(NamedTuple):
    """What came of a request: no body when the object ends before the range. `where` was asked."""

    connection: http.client.HTTPConnection
    body: http.client.HTTPResponse | None
    where: SplitResult


class RangeReader:
    """Reads ranges of objects; safe to use from several threads.

    `presign` gives the URL that reads a reference for so many seconds; `ca` is a PEM file of authorities.
    """

    def __init__(self, presign: Callable[[ObjectRef, int], str], ca: str | None = None, pause: float = 0.2) -> None:
        self._presign = presign
        self._pause = pause
        self._lock = threading.Lock()
        self._connections = KeptConnections(ca)
        self._urls: OrderedDict[ObjectRef, tuple[float, SplitResult]] = OrderedDict()

    def stream(self, ref: ObjectRef, offset: int, length: int | None, chunk: int) -> Iterator[memoryview]:
        """Bytes `offset` to `offset + length` (None: to the end) in pieces of at most `chunk` bytes.

        A piece is valid until the next is asked for. A broken connection is resumed at the byte where it broke,
        pinned to the ETag first seen; raises NotStored, ObjectChanged, StoreUnavailable.
        """
        if length is not None and length <= 0:
            return
        buffer = memoryview(bytearray(chunk if length is None else min(chunk, length)))

        def room(done: int) -> memoryview:
            # The piece after one cut short is short too: whoever can only stop at whole blocks finds their ends.
            return buffer[: chunk - done % chunk]

        if length is None or length <= AHEAD or ref.etag is None:
            received = self._receive(ref, offset, length, room)
        else:
            received = self._ahead(ref, offset, length, room)
        for got in received:
            yield buffer[:got]

    def _ahead(self, ref: ObjectRef, offset: int, length: int, room: Callable[[int], memoryview]) -> Iterator[int]:
        """What `_receive` does, in ranges of AHEAD bytes, of which the next is asked for before it is needed."""
        asked, done = self._ask(ref, offset, offset + AHEAD), 0
        try:
            while done < length:
                now, before = asked, done
                part = min(AHEAD, length - done)
                received = self._receive(ref, offset + done, part, room, done, now)
                asked = self._ask(ref, offset + done + part, offset + min(done + part + AHEAD, length))
                for got in received:
                    done += got
                    yield got
                if done < before + part:
                    return  # the object ends there
        finally:
            if asked is not None:
                asked.connection.close()

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` on; gives the number of bytes, fewer only at the end of the object."""
        if not len(buffer):
            return 0
        return sum(self._receive(ref, offset, len(buffer), lambda done: buffer[done:]))

    def _receive(
        self,
        ref: ObjectRef,
        offset: int,
        length: int | None,
        room: Callable[[int], memoryview],
        before: int = 0,
        asked: _Answer | None = None,
    ) -> Iterator[int]:
        """Receives into the buffers that `room(bytes received so far)` gives; yields how much came each time.

        `before` counts the bytes received in front of the range; `asked` is its answer, where it was asked for already.
        """
        position, etag, failures = offset, ref.etag, 0
        end = None if length is None else offset + length
        while end is None or position < end:
            try:
                connection, answer, where = asked or self._open(ref, position, end, etag)
            except _Transient as failure:
                failures = self._wait(failures, failure)
                continue
            asked = None
            if answer is None:
                return
            etag = etag or (answer.getheader("ETag") or "").strip('"') or None
            left = answer.length if end is None else end - position
            if left is not None and answer.length is not None:
                left = min(left, answer.length)
            whole = False
            try:
                while left is None or left > 0:
                    buffer = room(before + position - offset)
                    got = answer.readinto(buffer if left is None else buffer[:left])
                    if got == 0:
                        break
                    position += got
                    left = None if left is None else left - got
                    failures = 0
                    yield got
                whole = not left
            except BROKEN_TRANSPORT:
                whole = False
            finally:
                self._connections.give_back(connection, where.scheme, where.netloc, whole and answer.isclosed())
            if whole:
                return
            failures = self._wait(failures, _Transient(StoreUnavailable("the object store broke off an answer")))

    def _wait(self, failures: int, failure: _Transient) -> int:
        if failures + 1 >= _ATTEMPTS:
            raise failure.cause
        time.sleep(self._pause * 2**failures)
        return failures + 1

    def _ask(self, ref: ObjectRef, position: int, end: int) -> _Answer | None:
        """Ask for a range ahead of its time; None where that fails: it is asked for again when it is needed."""
        if position >= end:
            return None
        try:
            return self._open(ref, position, end, ref.etag)
        except (_Transient, PerduraError):
            return None

    def _open(self, ref: ObjectRef, position: int, end: int | None, etag: str | None) -> _Answer:
        """Ask for the range."""
        url = self._url(ref)
        headers = {"Range": f"bytes={position}-" if end is None else f"bytes={position}-{end - 1}"}
        if etag:
            headers["If-Match"] = f'"{etag.strip(chr(34))}"'
        connection = self._connections.take(url.scheme, url.netloc)
        try:
            connection.request("GET", f"{url.path}?{url.query}", headers=headers)
            answer = connection.getresponse()
        except BROKEN_TRANSPORT as error:
            connection.close()
            raise _Transient(StoreUnavailable("the object store does not answer")) from error
        if answer.status == 206 or (answer.status == 200 and position == 0):
            seen = (answer.getheader("ETag") or "").strip('"')
            begins = (answer.getheader("Content-Range") or f"bytes {position}-").split("-")[0].split()[-1]
            if etag and seen and seen != etag.strip('"'):
                connection.close()
                raise ObjectChanged("the object was replaced while it was being read")
            if begins != str(position):
                connection.close()
                raise _Transient(StoreUnavailable("the object store answered with another range than asked"))
            return _Answer(connection, answer, url)
        try:
            text = answer.read(2048).decode("utf-8", "replace")
        except BROKEN_TRANSPORT:
            text = ""
        self._connections.give_back(connection, url.scheme, url.netloc, answer.isclosed())
        if answer.status == 416:
            return _Answer(connection, None, url)
        problem = meaning(answer.status, _code(text), text)
        if (answer.status == 403 or _code(text) == "ExpiredToken") and self._forget(ref):
            raise _Transient(problem)
        if isinstance(problem, StoreUnavailable):
            raise _Transient(problem)
        raise problem

    def _url(self, ref: ObjectRef) -> SplitResult:
        now = time.monotonic()
        with self._lock:
            kept = self._urls.get(ref)
            if kept and now < kept[0]:
                return kept[1]
        url = urlsplit(self._presign(ref, _URL_SECONDS))
        with self._lock:
            self._urls[ref] = (now + _URL_SECONDS / 2, url)
            while len(self._urls) > _KEPT_URLS:
                self._urls.popitem(last=False)
        return url

    def _forget(self, ref: ObjectRef) -> bool:
        """Whether a URL older than this moment was in use: signatures run out while a machine sleeps."""
        with self._lock:
            kept = self._urls.pop(ref, None)
        return kept is not None and kept[0] - time.monotonic() < _URL_SECONDS / 2 - 60

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()


def _code(text: str) -> str:
    """The `<Code>` of an S3 error body, cut out without parsing XML of a stranger."""
    _, found, rest = text.partition("<Code>")
    return rest.partition("</Code>")[0][:80] if found else ""
