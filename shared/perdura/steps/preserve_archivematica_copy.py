"""Copies a SIP within the store to a transfer source, over as many invocations as that takes.

What is copied is kept between them: the object that was copied last, and the upload in parts of the one in progress,
whose id is in the checkpoint before its first part is sent, so that the next invocation can go on with it or end it. A
step that is cancelled meanwhile leaves it to the bucket's rule for unfinished uploads (docs/archivematica.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from perdura.errors import NotStored
from perdura.ports import Ports
from perdura.storage.store import ObjectRef
from perdura.storage.timed import TimeUp
from perdura.storage.uploads import Upload, copy_on

KEY = "placing"
"""Name of the progress within a step's checkpoint."""
AT_ONCE = 2**30
"""Bytes of an object that are copied by one request; a longer one is copied by as many of that size."""


@dataclass(frozen=True, slots=True)
class Placing:
    """How far it is at an `instance`: `done` is the last member below a prefix, `upload` the copy in parts of `key`."""

    instance: str
    done: str = ""
    key: str = ""
    upload: str = ""

    def to_json(self) -> dict[str, str]:
        """As a checkpoint keeps it."""
        return asdict(self)


class Unfinished(Exception):
    """The time of this invocation is up; the next one goes on from `placing`."""

    def __init__(self, placing: Placing) -> None:
        self.placing = placing


def placing_of(checkpoint: Mapping[str, object], instance: str) -> Placing:
    """The progress that the last invocation left at an instance, or the beginning."""
    told = checkpoint.get(KEY)
    left = Placing(**told) if isinstance(told, Mapping) else None
    return left if left is not None and left.instance == instance else Placing(instance)


def copy_object(ref: ObjectRef, bucket: str, key: str, size: int, placing: Placing, ports: Ports) -> None:
    """Copy one object; raises Unfinished, TimeUp when there was not even time to begin, NotStored, ObjectChanged."""
    if size <= AT_ONCE:
        if ports.deadline.near():
            raise TimeUp
        ports.store.copy(ref, bucket, key, size)
        return
    uploads = ports.store.uploads
    if placing.key != key:
        raise Unfinished(replace(placing, key=key, upload=uploads.begin(bucket, key).id))
    try:
        copied = copy_on(uploads, ref, Upload(bucket, key, placing.upload), size, ports.deadline.near)
    except NotStored:
        # The upload lay too long, or a worker died that had completed it; else the SIP itself is gone.
        ports.store.head(ref.bucket, ref.key, ref.version_id)
        if _is_there(bucket, key, size, ports):
            return
        raise Unfinished(replace(placing, upload=uploads.begin(bucket, key).id)) from None
    if copied is None:
        raise Unfinished(placing)


def copy_members(source: tuple[str, str], bucket: str, prefix: str, placing: Placing, ports: Ports) -> None:
    """Copy all objects below a bucket and prefix to another; raises as `copy_object`."""
    begun = placing
    for info in ports.store.list(*source):
        member = info.ref.key.removeprefix(source[1])
        if member <= placing.done:
            continue
        if ports.deadline.near() and placing != begun:
            raise Unfinished(placing)
        copy_object(info.ref, bucket, prefix + member, info.size, placing, ports)
        placing = Placing(placing.instance, member)


def give_up(bucket: str | None, placing: Placing, ports: Ports) -> None:
    """End an upload in parts that nobody will go on with."""
    if bucket is not None and placing.upload:
        ports.store.uploads.abort(Upload(bucket, placing.key, placing.upload))


def _is_there(bucket: str, key: str, size: int, ports: Ports) -> bool:
    try:
        return ports.store.head(bucket, key).size == size
    except NotStored:
        return False
