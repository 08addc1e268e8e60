"""The files that a record shall have, and how they go to its server."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from perdura.clients.inveniordm.files import LONGEST_KEY
from perdura.errors import Broken
from perdura.ports import Progress
from perdura.steps.publish_sent import OutOfTime, Sent

Chunk = bytes | bytearray | memoryview


@dataclass
class Wanted:
    """One file as it shall lie in the record. `read(offset, length)` gives its bytes, anew each time.

    `link` gives an address from which the server may fetch the whole file. `md5` is filled in when the bytes went by.
    """

    key: str
    size: int
    sha256: str | None
    read: Callable[[int, int], Iterable[Chunk]]
    link: Callable[[], str] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    md5: str | None = None

    def whole(self) -> Iterator[bytes]:
        """All bytes; raises Broken at the end when they are not those of the AIP."""
        md5, sha256, seen = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        for chunk in self.read(0, self.size) if self.size else ():
            md5.update(chunk)
            sha256.update(chunk)
            seen += len(chunk)
            yield bytes(chunk)
        self.md5 = self.proven(seen, md5.hexdigest(), sha256.hexdigest())

    def proven(self, seen: int, md5: str, sha256: str) -> str:
        """The MD5 of so many bytes with that SHA-256; raises Broken when they are not those of the AIP."""
        if seen != self.size or self.sha256 not in (None, sha256):
            raise Broken(f"{self.key} is not what the index of the AIP says; nothing was published.", code="bad-aip")
        return md5


@dataclass(frozen=True, slots=True)
class Sending:
    """How files go to a server: bytes above which in parts, bytes of a part, whether the server may fetch."""

    multipart_above: int = 100 * 2**20
    part_size: int = 64 * 2**20
    fetch: bool = False
    wait: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    progress: Progress | None = None
    near: Callable[[], bool] = lambda: False
    sent: Sent = field(default_factory=lambda: Sent(""))
    """What earlier invocations sent, and this one; what is noted in it need not be read or sent again."""

    def in_time(self) -> None:
        """Raise OutOfTime when the invocation has to end."""
        if self.near():
            raise OutOfTime

    def fetches(self, file: Wanted) -> bool:
        """Whether the server shall fetch a file itself."""
        return self.fetch and file.link is not None and file.key not in self.sent.unfetched

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how far it is, where somebody listens."""
        if self.progress is not None:
            self.progress(what, done, total)


def check_keys(files: Sequence[Wanted]) -> str | None:
    """Why these names cannot be files of a record (inveniordm.md 1.3); None when they can."""
    seen: set[str] = set()
    for file in files:
        if len(file.key) > LONGEST_KEY or ".." in file.key.split("/") or file.key in seen:
            return f"{file.key[:100]!r} cannot be the name of a file in a record"
        seen.add(file.key)
    return None
