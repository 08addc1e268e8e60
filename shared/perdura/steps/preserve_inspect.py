"""Identifies and scans files from the very chunks that are being written: no file is read a second time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

from perdura.ports import FormatIdentifier, Identification, Scan, VirusScanner

SMALL = 1 << 20
"""Files up to this size in bytes are held in memory and inspected together; larger ones as they stream."""

_BATCH_FILES = 256
_BATCH_BYTES = 8 << 20
_SCANS_AT_ONCE = 2

Chunk = bytes | bytearray | memoryview
Result = TypeVar("Result")


@runtime_checkable
class BatchIdentifier(Protocol):
    """An identifier that is faster when it is given many small files at once."""

    def identify_many(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Identification]:
        """Identify files given as (name, content), in their order."""
        ...


class Inspection:
    """Collects an identification and a scan per file number, through whichever of the two ports there is.

    `formats` and `scans` are as long as the largest number of which something is known.
    """

    def __init__(self, identifier: FormatIdentifier | None, scanner: VirusScanner | None) -> None:
        self.formats: list[Identification | None] = []
        self.scans: list[Scan | None] = []
        self._identifier = identifier
        self._scanner = scanner
        self._batch: list[tuple[int, str, bytes]] = []
        self._batched = 0
        self._known_formats: dict[Identification, Identification] = {}
        self._known_scans: dict[Scan, Scan] = {}

    def tap(self, number: int, name: str, size: int) -> Tap:
        """Where the chunks of file `number` go."""
        if size <= SMALL:
            return _Held(lambda data: self._enqueue(number, name, data))
        streams: list[_Stream[Identification] | _Stream[Scan]] = []
        if self._identifier is not None:
            identify = self._identifier.identify
            streams.append(
                _Stream(lambda chunks: identify(name, chunks, size), lambda found: self._format(number, found))
            )
        if self._scanner is not None:
            scan = self._scanner.scan
            streams.append(_Stream(lambda chunks: scan(chunks, size), lambda found: self._scan(number, found)))
        return _Streamed(streams)

    def flush(self) -> None:
        """Inspect what is still held; call it when the last file went by."""
        batch, self._batch, self._batched = self._batch, [], 0
        if not batch:
            return
        with ThreadPoolExecutor(_SCANS_AT_ONCE, thread_name_prefix="scan") as pool:
            scanner = self._scanner
            scans = (
                pool.map(lambda held: scanner.scan(iter((held[2],)), len(held[2])), batch)
                if scanner is not None
                else iter(())
            )
            if isinstance(self._identifier, BatchIdentifier):
                found = self._identifier.identify_many([(name, data) for _, name, data in batch])
                for (number, _, _), identification in zip(batch, found, strict=True):
                    self._format(number, identification)
            elif self._identifier is not None:
                for number, name, data in batch:
                    self._format(number, self._identifier.identify(name, iter((data,)), len(data)))
            for (number, _, _), scan in zip(batch, scans, strict=scanner is not None):
                self._scan(number, scan)

    def _enqueue(self, number: int, name: str, data: bytes) -> None:
        if self._identifier is None and self._scanner is None:
            return
        self._batch.append((number, name, data))
        self._batched += len(data)
        if len(self._batch) >= _BATCH_FILES or self._batched >= _BATCH_BYTES:
            self.flush()

    def _format(self, number: int, found: Identification) -> None:
        _put(self.formats, number, self._known_formats.setdefault(found, found))

    def _scan(self, number: int, found: Scan) -> None:
        _put(self.scans, number, self._known_scans.setdefault(found, found))


def _put(table: list[Result | None], number: int, value: Result) -> None:
    """Set a place of a table that grows; files are not inspected in their order."""
    if number >= len(table):
        table.extend([None] * (number + 1 - len(table)))
    table[number] = value


class Tap(Protocol):
    """Takes the chunks of one file; leaving its context in peace says that all of them were fed."""

    def feed(self, chunk: Chunk) -> None:
        """Take a chunk; it is copied where it is kept."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Held:
    def __init__(self, done: Callable[[bytes], None]) -> None:
        self._data = bytearray()
        self._done = done

    def feed(self, chunk: Chunk) -> None:
        self._data += chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._done(bytes(self._data))


class _Streamed:
    def __init__(self, streams: Sequence[_Stream[Identification] | _Stream[Scan]]) -> None:
        self._streams = streams

    def feed(self, chunk: Chunk) -> None:
        if self._streams:
            data = bytes(chunk)
            for stream in self._streams:
                stream.feed(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            if kind is None:
                stream.close()
            else:
                stream.abandon()


class _Abandoned(Exception):
    """The file ended early; whoever reads its chunks must not take what came for the whole of it."""


class _Stream(Generic[Result]):
    """Runs a consumer of chunks in a thread of its own, a few chunks behind the producer at most."""

    def __init__(self, consume: Callable[[Iterator[bytes]], Result], done: Callable[[Result], None]) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self._consume = consume
        self._done = done
        self._result: list[Result] = []
        self._error: BaseException | None = None
        self._abandoned = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="inspect", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        self._chunks.put(data)

    def close(self) -> None:
        self._chunks.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._done(self._result[0])

    def abandon(self) -> None:
        self._abandoned = True
        self._chunks.put(None)
        self._thread.join()

    def _run(self) -> None:
        chunks = self._iterate()
        try:
            self._result.append(self._consume(chunks))
        except BaseException as error:  # it is raised again in the thread that asked, by close()
            self._error = error
        finally:
            while not self._ended and self._chunks.get() is not None:
                pass

    def _iterate(self) -> Iterator[bytes]:
        while (data := self._chunks.get()) is not None:
            yield data
        self._ended = True
        if self._abandoned:
            raise _Abandoned
