"""The leaves themselves in the log's bucket, beside the tree over them: from there the log can be restored.

`leaves/<first>-<end>` holds the leaves [first, end) as gzipped NDJSON, one line a leaf: `sequence` (its place in the
order of recording), `identifier` (the name the event is found by), `leaf` (what the tree hashes) and `xml` (the event
as it was sent). A leaf is published once, before the first checkpoint that covers it is signed.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from perdura.errors import Broken

PREFIX = "leaves/"
TOGETHER = 2_000
"""Leaves in one object, at most."""
LARGEST = 256 * 2**20
"""Bytes that one object may unpack to."""

_KEY = re.compile(r"leaves/(\d{20})-(\d{20})")

_READ = (
    "SELECT f.leaf_index, l.sequence, e.identifier, l.leaf, l.xml FROM premis_leaf f JOIN premis_log l "
    "ON l.sequence = f.sequence AND l.recorded_at = f.recorded_at "
    "LEFT JOIN premis_event e ON e.event_id = l.event_id "
    "WHERE f.leaf_index >= %s AND f.leaf_index < %s ORDER BY f.leaf_index"
)


class Bucket(Protocol):
    """What is asked of the object store."""

    def read(self, ref: Any) -> bytes:
        """The bytes of an object."""
        ...

    def list(self, bucket: str, prefix: str, start_after: str = ...) -> Iterator[Any]:
        """Objects below a prefix, by key."""
        ...


@dataclass(frozen=True, slots=True)
class PublishedLeaf:
    """One leaf as the bucket has it."""

    index: int
    sequence: int
    identifier: str | None
    leaf: bytes
    xml: str


def missing(store: Bucket, bucket: str, last_size: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves to publish for a tree of `size` whose last signed head had `last_size`.

    A log from before leaves were published has none in the bucket: all of them are due, the first ones last, so
    that whoever finds those knows that the others are there.
    """
    first = last_size if next(iter(store.list(bucket, f"{PREFIX}{0:020d}-")), None) else 0
    ranges = [(begin, min(begin + TOGETHER, size)) for begin in range(first, size, TOGETHER)]
    return ranges if first else ranges[::-1]


def encoded(connection: Connection, begin: int, end: int) -> tuple[str, bytes]:
    """Key and bytes of the object of the leaves [begin, end); the same leaves always give the same bytes."""
    rows = connection.exec_driver_sql(_READ, (begin, end)).all()
    if len(rows) != end - begin:
        raise Broken(f"The log lacks leaves between {begin} and {end}; nothing was signed. Run `perdura log verify`.")
    lines = [
        json.dumps(
            {"sequence": sequence, "identifier": identifier, "leaf": bytes(leaf).decode(), "xml": xml},
            ensure_ascii=False,
        )
        for _, sequence, identifier, leaf, xml in rows
    ]
    return f"{PREFIX}{begin:020d}-{end:020d}", gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def published(store: Bucket, bucket: str, first: int = 0) -> Iterator[PublishedLeaf]:
    """The leaves from `first` on, without gaps and each once; ends where the next one is not there.

    Raises Broken for an object that is no such file.
    """
    wanted = first
    for info in store.list(bucket, PREFIX):
        match = _KEY.fullmatch(info.ref.key)
        if match is None or int(match[2]) <= wanted:
            continue
        begin = int(match[1])
        if begin > wanted:
            return
        for leaf in _decoded(info.ref.key, store.read(info.ref), begin):
            if leaf.index == wanted:
                yield leaf
                wanted += 1


def _decoded(key: str, data: bytes, begin: int) -> Iterator[PublishedLeaf]:
    try:
        unpacking = zlib.decompressobj(wbits=31)
        text = unpacking.decompress(data, LARGEST)
        if unpacking.unconsumed_tail:
            raise Broken(f"{key} in the log's bucket unpacks to more than {LARGEST} bytes.")
        for index, line in enumerate(text.splitlines(), begin):
            found = json.loads(line)
            yield PublishedLeaf(
                index, int(found["sequence"]), found["identifier"], found["leaf"].encode(), found["xml"]
            )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken(f"{key} in the log's bucket cannot be read: it holds no leaves.") from error
