"""Memory of the step `publish` for AIPs of very many files: the index, what is offered of it, and a DIP as one zip.

    python benchmarks/many_files.py [FILES ...]

Each size is a process of its own, by default of 100,000 files and of 1,000,000. The index is made while it is read and
the files are of 100 bytes, so that what is measured is what the step keeps of each file, not the speed of a store.
`idle` is the process when all is imported. About a minute.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.publish import child, peak

from perdura.clients.destinations import Choice
from perdura.ids import new_id
from perdura.outcome import Package, PackageKind
from perdura.packages import zip_stream
from perdura.packages.aip_index import Entries, decode
from perdura.registry.offers import PAGE
from perdura.steps import dip, dip_zip, publish_pages

SIZE = 100
DIGESTS = {"sha256": "0" * 64, "sha512": "0" * 128, "adler32": "00000001"}


def index(files: int) -> Iterator[bytes]:
    """The lines of the index of an AIP."""
    yield json.dumps(
        {"schema": "urn:perdura:aip-index:1", "aip": "a", "archive": "a", "base": "a", "size": 1, "checksums": {},
         "members": files}
    ).encode()  # fmt: skip
    for number in range(files):
        path = f"data/objects/content/run-2026/folder-{number // 200:06d}/measurement-{number:08d}.dat"
        place = {"path": path, "offset": number * 1024 + 512, "size": SIZE}
        yield json.dumps({**place, **DIGESTS, "format": "fmt/18"}).encode()


class Zeros:
    """A store in which every object is of zeros."""

    def stream(self, _: object, offset: int, size: int) -> Iterator[memoryview]:
        """So many of them, in chunks."""
        del offset
        block = memoryview(bytes(1 << 20))
        while size > 0:
            yield block[:size]
            size -= min(size, len(block))


def kept(files: int) -> str:
    """In a process of its own: the memory that the step comes to at its three summits."""
    idle, begun = peak(), time.perf_counter()
    aip = Package(new_id(), PackageKind.AIP, "aips", "a.tar", "tar", files * 1024)
    entries = Entries(decode(index(files))[1])
    read = peak()
    offered = publish_pages._offer(aip, "aip", dip.payload(entries))
    for place in range(0, files, PAGE):
        assert offered.files[place : place + PAGE]
    pages = peak()
    chosen = dip.choose(entries, Choice())
    dip.identity(aip, "library", chosen)
    members = dip_zip._entries(aip, chosen, b"<premis/>", cast("Any", SimpleNamespace(store=Zeros())))
    making = zip_stream.ZipStream(members, datetime.now(UTC))
    made = sum(len(chunk) for chunk in making.chunks())
    assert made == zip_stream.length(members)
    checkpoint = len(json.dumps(dip_zip.Zipping("of", "upload", crcs=making.state.crcs).to_json()))
    zipped, each = peak(), 2**20 / files
    return (
        f"{files:,} files: index {(read - idle) * each:.0f} bytes a file, access pages {(pages - idle) * each:.0f}, "
        f"zip {(zipped - idle) * each:.0f}; peak {zipped:.0f} MiB, of which {idle:.0f} idle; "
        f"checkpoint {checkpoint / files:.1f} bytes a file; {time.perf_counter() - begun:.0f} s"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(kept(int(sys.argv[3])))
    else:
        for size in sys.argv[1:] or ["100000", "1000000"]:
            print(child("kept", size, of=__file__))
