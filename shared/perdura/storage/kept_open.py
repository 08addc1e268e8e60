"""Writing an object in parts over several processes: what one has sent, the next goes on from.

Like `MultipartWriter`, but its upload can be left open; and with less memory, as several of them run at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from perdura.errors import NotStored, PerduraError, Retryable, StoreUnavailable
from perdura.storage.parts import Part, Upload, part_size
from perdura.storage.store import ObjectInfo

if TYPE_CHECKING:
    from perdura.storage.store import Store

_SMALLEST_PART = 8 << 20
_FLYING = 2
_MEMORY = 128 << 20
"""Bytes that parts may take: the one being filled, those under way, and a spare one."""


class KeptOpenWriter:
    """Writes one object. Leaving the context without `finish` or `put_down` gives the upload up.

    One that was resumed is only given up without an error, or by one that says no: where the store does not answer, or
    the process is stopped, whoever noted it can go on from there.

    An object that fits into one part is put in one request, with its media type. `size` is that of the whole object
    where it is known. Methods raise what the store raises; NotStored when `resumed` is an upload that is over.
    """

    def __init__(
        self,
        store: Store,
        bucket: str,
        key: str,
        *,
        size: int | None,
        content_type: str = "application/octet-stream",
        resumed: Upload | None = None,
        position: int = 0,
    ) -> None:
        """`resumed` goes on with an upload of which `position` bytes count: parts beyond it are sent again."""
        self._store = store
        self._place = bucket, key
        self._size = size
        self._media_type = content_type
        self._upload = self._resumed = resumed
        self._sent = len(_parts_before(position, store.uploads.parts(resumed))) if resumed else 0
        self._flying: deque[tuple[Future[None], bytearray]] = deque()
        self._workers: ThreadPoolExecutor | None = None
        self._over = False
        self.position = position
        self._length = self._next_length()
        # Buffers go round: fresh memory for every part costs a tenth of the whole transfer.
        self._part = bytearray(self._length)
        self._spare: list[bytearray] = []
        self._filled = 0

    @property
    def room(self) -> int:
        """Bytes until the present part is full: a multiple of 1 MiB at the beginning of each part."""
        return self._length - self._filled

    def write(self, data: bytes | memoryview) -> bool:
        """Append at most `room` bytes; True when a part was full, so that what is written counts from here."""
        self._part[self._filled : self._filled + len(data)] = data
        self._filled += len(data)
        self.position += len(data)
        if self._filled < self._length or self.position == self._size:
            return False
        self._send()
        return True

    def finish(self) -> ObjectInfo:
        """Complete the object."""
        if self._upload is None:
            whole = bytes(memoryview(self._part)[: self._filled])
            info = self._store.put(*self._place, whole, content_type=self._media_type).info
        else:
            if self._filled:
                self._send()
            self._land()
            info = self._complete(self._upload)
        self._close()
        return info

    def _complete(self, upload: Upload) -> ObjectInfo:
        try:
            return self._store.uploads.complete(upload, _parts_before(self.position, self._store.uploads.parts(upload)))
        except NotStored as error:
            if self._resumed is not None:
                raise
            # Nobody else knows the upload: it was completed, and the answer to that was lost.
            raise StoreUnavailable("the object store lost track of an upload") from error

    def put_down(self) -> Upload | None:
        """Wait for the parts under way and leave the upload open; None when there is none yet."""
        self._land()
        self._close()
        return self._upload

    def _next_length(self) -> int:
        if self._size is None:
            return max(_SMALLEST_PART, part_size(None, self.position) if self.position >= 1 << 34 else 0)
        return max(_SMALLEST_PART, part_size(self._size) if self._size >= 1 << 36 else 0)

    def _send(self) -> None:
        uploads = self._store.uploads
        if self._upload is None:
            self._upload = uploads.begin(*self._place)
        if self._workers is None:
            self._workers = ThreadPoolExecutor(_FLYING, thread_name_prefix="upload")
        flying = min(_FLYING, _MEMORY // self._length - 1)
        while len(self._flying) >= max(flying, 1):
            self._landed()
        self._sent += 1
        full = self._part if self._filled == len(self._part) else self._part[: self._filled]
        self._flying.append((self._workers.submit(uploads.put_part, self._upload, self._sent, full), full))
        if flying < 1:
            self._land()
        self._length = self._next_length()
        self._filled = 0
        fits = self._spare and len(self._spare[-1]) == self._length
        self._part = self._spare.pop() if fits else bytearray(self._length)

    def _land(self) -> None:
        while self._flying:
            self._landed()

    def _landed(self) -> None:
        sent, buffer = self._flying.popleft()
        sent.result()
        if len(buffer) == self._length:
            self._spare = [buffer]

    def _close(self) -> None:
        self._over = True
        self._part, self._spare = bytearray(), []
        if self._workers:
            self._workers.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        self._close()
        final = error is None or (isinstance(error, PerduraError) and not isinstance(error, Retryable))
        if self._upload is not None and (final or self._resumed is None):
            try:
                self._store.uploads.abort(self._upload)
            except PerduraError:
                # An upload that cannot be given up now is removed by the bucket's lifecycle rule.
                return


def _parts_before(position: int, there: Sequence[Part]) -> list[Part]:
    """The parts that make up the first `position` bytes; raises NotStored when they are not there."""
    found: list[Part] = []
    reached = 0
    for number, part in enumerate(there, 1):
        if reached >= position or part.number != number:
            break
        found.append(part)
        reached += part.size
    if reached != position:
        raise NotStored("the parts of an upload are not those that were noted")
    return found
