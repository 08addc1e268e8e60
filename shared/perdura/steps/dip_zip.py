"""A DIP as one stored zip, streamed from store to store over as many invocations as it takes; nothing of it is held.

Where an invocation has to end, the upload is left open at the end of a part, with the digests and the CRC-32s of what
it has. The next one makes the same zip from there: no file before it is read again. What was written is read back
before anybody is told of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from perdura.errors import NotStored, ObjectChanged, Retryable
from perdura.on_demand import OnDemand
from perdura.outcome import Package, PackageKind
from perdura.packages import zip_stream
from perdura.packages.long_digest import START, LongDigest, LongState, continued
from perdura.ports import Ports
from perdura.premis.model import Event
from perdura.steps.dip import Chosen, premis_document, runs
from perdura.steps.publish_sent import OutOfTime, Sent
from perdura.steps.stored_package import pinned
from perdura.storage.kept_open import KeptOpenWriter
from perdura.storage.store import ObjectInfo
from perdura.storage.uploads import Upload

_ALGORITHMS = ("md5", "sha256")
_READ_BACK = ("sha256",)


@dataclass(frozen=True, slots=True)
class Zipping:
    """How far a zip is: `of` names what it is made of, `upload` holds what is made of it.

    Once it is whole, `stored` tells what was stored, and `read` how much of it was read back.
    """

    of: str = ""
    upload: str | None = None
    digests: LongState = START
    crcs: bytes = b""
    crc: int = 0
    stored: Mapping[str, Any] | None = None
    read: LongState = START

    @classmethod
    def of_json(cls, value: Mapping[str, Any] | None) -> Zipping:
        """What a checkpoint tells."""
        if not value:
            return cls()
        digests = LongState(value["offset"], value["states"])
        known = cls(value["of"], value["upload"], digests, base64.b64decode(value["crcs"]), value["crc"])
        if (stored := value.get("stored")) is None:
            return known
        return replace(known, stored=stored, read=LongState(value["read"]["offset"], value["read"]["states"]))

    def to_json(self) -> dict[str, Any]:
        """The checkpoint: 6 bytes for each file."""
        crcs = base64.b64encode(self.crcs).decode()
        told = {"of": self.of, "upload": self.upload, **self.digests.to_json(), "crcs": crcs, "crc": self.crc}
        return told if self.stored is None else {**told, "stored": dict(self.stored), "read": self.read.to_json()}


def write(aip: Package, chosen: Sequence[Chosen], dip: UUID, made: Event, ports: Ports, sent: Sent) -> Package:
    """The DIP as one stored zip: its files below `objects/`, `premis.xml` beside them.

    `made` tells of the making: the same attempt of a step always writes the same bytes under the same key.
    Raises OutOfTime when the next invocation has to go on, from what is noted in `sent`; Broken where that cannot be
    done on this machine.
    """
    premis = premis_document(dip, aip.id, made)
    ref = pinned(aip)
    of = hashlib.sha256(f"{dip}\0{ref.version_id}\0{ref.etag}\0".encode() + premis).hexdigest()
    begun = Zipping.of_json(sent.zipping)
    begun = begun if begun.of == of else Zipping(of)
    entries = _entries(aip, chosen, premis, ports)
    key = f"{aip.id}/{dip}.zip"
    if begun.stored is not None:
        package = Package(dip, PackageKind.DIP, ports.settings.bucket_dips, key, "zip", **begun.stored)
        # What is not there any more, or not as it was written, is written anew.
        with suppress(NotStored, ObjectChanged):
            if _reads_back(package, begun, ports, sent):
                return package
        begun = Zipping(of)
    try:
        info, checksums = _written(key, entries, made.at, begun, ports, sent)
    except NotStored:
        if begun.upload is None:
            raise
        # The store gave up an upload that lay too long, or it was completed by a worker that died then.
        info, checksums = _written(key, entries, made.at, Zipping(of), ports, sent)
    stored = info.ref
    package = Package(
        dip, PackageKind.DIP, stored.bucket, stored.key, "zip", info.size, stored.version_id, stored.etag, checksums
    )
    if not _reads_back(package, Zipping(of), ports, sent):
        raise Retryable("The DIP reads back as other bytes than were written.", code="stored-differs")
    return package


def _reads_back(package: Package, begun: Zipping, ports: Ports, sent: Sent) -> bool:
    """Whether what is stored is what was written. Raises OutOfTime, ObjectChanged, NotStored."""
    ref, size = pinned(package), package.size
    read = continued(
        lambda offset: ports.store.stream(ref, offset, size - offset), size, _READ_BACK, begun.read,
        ports.deadline.near, lambda done: ports.progress("reading the DIP back", done, size),
    )  # fmt: skip
    if read.digests is None:
        known = ("size", "version_id", "etag", "checksums")
        stored = {name: getattr(package, name) for name in known}
        sent.zipping = Zipping(begun.of, stored=stored, read=read).to_json()
        raise OutOfTime
    sent.zipping = None
    return read.digests["sha256"].hex() == package.checksums["sha256"]


def _written(
    key: str, entries: Sequence[zip_stream.Entry], at: datetime, begun: Zipping, ports: Ports, sent: Sent
) -> tuple[ObjectInfo, Mapping[str, str]]:
    """Write on from where it was put down; raises NotStored when its upload is over, OutOfTime."""
    bucket, size = ports.settings.bucket_dips, zip_stream.length(entries)
    digest = LongDigest(_ALGORITHMS, begun.digests)
    making = zip_stream.ZipStream(entries, at, zip_stream.State(begun.digests.offset, begun.crcs, begun.crc))
    with KeptOpenWriter(
        ports.store,
        bucket,
        key,
        size=size,
        content_type="application/zip",
        resumed=Upload(bucket, key, begun.upload) if begun.upload else None,
        position=begun.digests.offset,
    ) as writer:
        for chunk in making.chunks(lambda: writer.room):
            digest.update(chunk)
            if not writer.write(chunk):
                continue
            ports.progress("making the DIP", writer.position, size)
            if ports.deadline.near():
                reached = digest.state()
                upload = writer.put_down()
                crcs = making.state
                sent.zipping = Zipping(begun.of, upload.id if upload else None, reached, crcs.crcs, crcs.crc).to_json()
                raise OutOfTime
        info = writer.finish()
    return info, {name: value.hex() for name, value in digest.digests().items()}


def _entries(aip: Package, chosen: Sequence[Chosen], premis: bytes, ports: Ports) -> Sequence[zip_stream.Entry]:
    reader = runs(aip, chosen, ports.store)
    first = zip_stream.Entry("premis.xml", len(premis), lambda start: (premis[start:],))

    def entry(number: int) -> zip_stream.Entry:
        if number == 0:
            return first
        each = chosen[number - 1]
        begin, size = each.entry.member.offset, each.entry.member.size
        return zip_stream.Entry(f"objects/{each.name}", size, lambda start: reader.read(begin + start, size - start))

    return OnDemand(len(chosen) + 1, entry)
