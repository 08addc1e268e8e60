"""Reading a staged file into the store, hashed on the way, in as many invocations as it takes (fts-cta.md 9).

What was read lies in the parts of one upload, the digests over it in the checkpoint; both end at the same byte, so that
the next invocation goes on there. Nothing becomes visible before every digest is the registry's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from perdura.errors import NotStored, UpstreamUnavailable
from perdura.packages.long_digest import START, LongDigest, LongState, resumes
from perdura.ports import Ports
from perdura.steps.recall_events import Recalled
from perdura.storage.kept_open import KeptOpenWriter
from perdura.storage.uploads import Upload

HASHED = ("adler32", "sha256", "sha512")
UNKEPT = 8 << 20
"""Bytes after which a drill, which keeps nothing, could be gone on with."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to read: bytes of the file on tape, what they must be, and where they go (`key` None: nowhere)."""

    offset: int
    size: int
    checksums: Mapping[str, str]
    key: str | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the reading of a target is. `upload` holds what was read; `again`: it is being read a second time."""

    state: LongState = START
    upload: str | None = None
    again: bool = False

    def to_json(self) -> dict[str, Any]:
        """The checkpoint."""
        return {**self.state.to_json(), "upload": self.upload, "again": self.again}


@dataclass(frozen=True, slots=True)
class Progress:
    """What one invocation brought: the `result` when all was read, else where to go on; `broken`: why it broke off."""

    reading: Reading
    result: Recalled | None = None
    broken: str = ""


def reading_from(document: Mapping[str, Any] | None) -> Reading:
    """The reading that a checkpoint describes; a new one without any."""
    if not document:
        return Reading()
    return Reading(LongState(document["offset"], document["states"]), document["upload"], document["again"])


def read_on(target: Target, reading: Reading, fetch: Callable[[int, int], Iterator[bytes]], ports: Ports) -> Progress:
    """Read on until all is there, time is up or the tape system breaks off.

    `fetch` gives so many bytes of the file on tape from an offset on; fewer where it ends before. A difference is
    believed when a second reading finds it too: an answer may be spoilt on its way, and no copy is condemned for that.
    Raises Broken when time is up and the digests cannot be continued on this machine, Retryable when the store does
    not answer.
    """
    wanted = {name: target.checksums[name] for name in HASHED if name in target.checksums}
    if not resumes(tuple(wanted)):
        reading = Reading(again=reading.again)
    try:
        with _kept(target, reading, ports) as kept:
            return _read_on(target, reading, wanted, fetch, kept, ports)
    except NotStored:
        # The store no longer knows the upload.
        return Progress(Reading(again=reading.again))


def give_up(target: Target, reading: Reading, ports: Ports) -> None:
    """Remove what was read so far; raises what the store raises."""
    if target.key is not None and reading.upload is not None:
        ports.store.uploads.abort(Upload(ports.settings.bucket_dips, target.key, reading.upload))


def _read_on(
    target: Target,
    reading: Reading,
    wanted: Mapping[str, str],
    fetch: Callable[[int, int], Iterator[bytes]],
    kept: KeptOpenWriter | _Nowhere,
    ports: Ports,
) -> Progress:
    digest = LongDigest(tuple(wanted), reading.state)
    resumable = resumes(tuple(wanted))
    reached, broken, late = reading.state, "", False
    try:
        for data in _fetched(target, digest.offset, fetch):
            while data:
                piece, data = data[: kept.room], data[kept.room :]
                digest.update(piece)
                if kept.write(piece) and resumable:
                    reached = digest.state()
            ports.progress("reading from tape", digest.offset, target.size)
            if digest.offset < target.size and ports.deadline.near():
                late = True
                break
    except UpstreamUnavailable as error:
        broken = error.message
    if broken or late:
        if late and not resumable:
            digest.state()
        upload = kept.put_down()
        return Progress(Reading(reached, upload.id if upload else None, reading.again), broken=broken)
    found = {name: value.hex() for name, value in digest.digests().items()}
    result = Recalled(digest.offset, target.size, found, wanted, None)
    if not result.wrong:
        info = kept.finish()
        return Progress(reading, result if info is None else replace(result, ref=info.ref))
    if not reading.again:
        return Progress(Reading(again=True))
    return Progress(reading, result)


def _fetched(target: Target, done: int, fetch: Callable[[int, int], Iterator[bytes]]) -> Iterator[memoryview]:
    """What is still to be read, never more; raises UpstreamUnavailable where more comes or the file is gone."""
    left = target.size - done
    try:
        for chunk in fetch(target.offset + done, left) if left else ():
            left -= len(chunk)
            if left < 0:
                raise UpstreamUnavailable("more bytes came from tape than were asked for")
            yield memoryview(chunk)
    except NotStored as error:
        raise UpstreamUnavailable(error.message) from error


def _kept(target: Target, reading: Reading, ports: Ports) -> KeptOpenWriter | _Nowhere:
    """Where the bytes go; raises NotStored when the upload is over."""
    if target.key is None:
        return _Nowhere(reading.state.offset)
    bucket = ports.settings.bucket_dips
    upload = Upload(bucket, target.key, reading.upload) if reading.upload else None
    return KeptOpenWriter(
        ports.store, bucket, target.key, size=target.size, resumed=upload, position=reading.state.offset
    )


class _Nowhere:
    """Takes the bytes of a drill: counts like a writer, and keeps nothing."""

    def __init__(self, position: int) -> None:
        self.position = position

    @property
    def room(self) -> int:
        return UNKEPT - self.position % UNKEPT

    def write(self, data: memoryview) -> bool:
        self.position += len(data)
        return self.position % UNKEPT == 0

    def put_down(self) -> None:
        """Nothing is left open."""

    def finish(self) -> None:
        """Nothing was kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return
