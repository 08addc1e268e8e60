"""Reading a staged file into the store, hashed on the way, in as many invocations as it takes (fts-cta.md 9).

What was read lies in the parts of one upload, the digests over it in the checkpoint; both end at the same byte, so that
the next invocation goes on there. Nothing becomes visible before every digest is the registry's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from perdura.errors import NotStored, UpstreamUnavailable
from perdura.packages.long_digest import START, LongDigest, LongState, resumes
from perdura.ports import Ports
from perdura.steps.recall_events import Recalled
from perdura.storage.parts import part_size
from perdura.storage.store import ObjectRef
from perdura.storage.uploads import Upload

HASHED = ("adler32", "sha256", "sha512")


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

    `fetch` gives so many bytes of the file on tape from an offset on. A difference that rests on digests continued from
    another invocation is believed when a second reading finds it too. Raises Broken when time is up and the digests
    cannot be continued on this machine, Retryable when the store does not answer.
    """
    wanted = {name: target.checksums[name] for name in HASHED if name in target.checksums}
    if not resumes(tuple(wanted)):
        reading = Reading(again=reading.again)
    digest = LongDigest(tuple(wanted), reading.state)
    store = _Kept(target, reading.upload, ports)
    try:
        broken, late = _fill(target, digest, fetch, store, ports)
        if broken or late:
            state = digest.state() if late or resumes(tuple(wanted)) else START
            return Progress(Reading(state, store.upload_id, reading.again), broken=broken)
        result = Recalled(
            digest.offset,
            target.size,
            {name: value.hex() for name, value in digest.digests().items()},
            wanted,
            None,
        )
        if not result.wrong:
            return Progress(reading, replace(result, ref=store.finish()))
    except _UploadGone:
        return Progress(Reading(again=reading.again))
    store.give_up()
    if reading.state.offset and not reading.again:
        return Progress(Reading(again=True))
    return Progress(reading, result)


def _fill(
    target: Target, digest: LongDigest, fetch: Callable[[int, int], Iterator[bytes]], kept: _Kept, ports: Ports
) -> tuple[str, bool]:
    """Take whole parts; gives back why the tape system broke off, and whether time was up."""
    length, piece = part_size(target.size), bytearray()

    def take(part: bytearray) -> None:
        kept.put(digest.offset // length + 1, part)
        digest.update(part)

    left = target.size - digest.offset
    try:
        for chunk in fetch(target.offset + digest.offset, left) if left else ():
            view = memoryview(chunk)
            while view:
                fitting = view[: length - len(piece)]
                piece += fitting
                view = view[len(fitting) :]
                if len(piece) == length:
                    take(piece)
                    piece = bytearray()
            done = digest.offset + len(piece)
            ports.progress("reading from tape", done, target.size)
            if done < target.size and ports.deadline.near():
                return "", True
    except UpstreamUnavailable as error:
        return error.message, False
    if piece:
        take(piece)
    return "", False


class _UploadGone(Exception):
    """The store no longer knows the upload."""


class _Kept:
    """Where the bytes go: nowhere in a drill, one object for a small file, the parts of an upload for a large one."""

    def __init__(self, target: Target, upload_id: str | None, ports: Ports) -> None:
        self._target, self._ports = target, ports
        self._uploads = ports.store.uploads
        self._large = target.size > part_size(target.size)
        self._small = bytearray()
        self.upload_id = upload_id

    @property
    def _upload(self) -> Upload:
        return Upload(self._ports.settings.bucket_dips, str(self._target.key), str(self.upload_id))

    def put(self, number: int, part: bytearray) -> None:
        if self._target.key is None:
            return
        if not self._large:
            self._small = part
            return
        if self.upload_id is None:
            self.upload_id = self._uploads.begin(self._ports.settings.bucket_dips, self._target.key).id
        try:
            self._uploads.put_part(self._upload, number, part)
        except NotStored as error:
            raise _UploadGone from error

    def finish(self) -> ObjectRef | None:
        bucket, key = self._ports.settings.bucket_dips, self._target.key
        if key is None:
            return None
        if not self._large:
            return self._ports.store.put(bucket, key, bytes(self._small)).info.ref
        try:
            parts = self._uploads.parts(self._upload)
            if sum(part.size for part in parts) != self._target.size:
                self.give_up()
                raise _UploadGone
            return self._uploads.complete(self._upload, parts).ref
        except NotStored as error:
            raise _UploadGone from error

    def give_up(self) -> None:
        if self.upload_id is not None:
            self._uploads.abort(self._upload)
