"""Files of a draft brought to what they shall be: skipped, replaced, uploaded, fetched, deleted.

Only MD5 and size after the commit count. MD5 is what the server tells; it is computed from the bytes that are sent,
which are at the same time compared with the SHA-256 of the AIP's index.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdura.clients.inveniordm.files import LONGEST_KEY, Files
from perdura.clients.inveniordm.model import FileEntry
from perdura.clients.inveniordm.wire import RdmForbidden, RdmRefused, RdmTooLarge, RdmUnknown
from perdura.errors import Broken, Rejected
from perdura.packages.long_digest import SAVED_AT, START, LongDigest, resumes
from perdura.ports import Progress
from perdura.steps.publish_sent import ALGORITHMS, Begun, OutOfTime, Sent

log = logging.getLogger(__name__)

MOST_PARTS = 10_000
POLLS = 60
"""Looks at a file that the server still computes or fetches, about a second apart."""

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

    def digest(self) -> str:
        """MD5 of the file, from its bytes when they did not go by yet."""
        if self.md5 is None:
            for _ in self._hashed(0, self.size):
                pass
        assert self.md5 is not None
        return self.md5

    def whole(self) -> Iterator[bytes]:
        """All bytes; raises Broken at the end when they are not those of the AIP."""
        return self._hashed(0, self.size)

    def _hashed(self, offset: int, length: int) -> Iterator[bytes]:
        md5, sha256, seen = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        for chunk in self.read(offset, length) if length else ():
            md5.update(chunk)
            sha256.update(chunk)
            seen += len(chunk)
            yield bytes(chunk)
        if seen != self.size or self.sha256 not in (None, sha256.hexdigest()):
            raise Broken(f"{self.key} is not what the index of the AIP says; nothing was published.", code="bad-aip")
        self.md5 = md5.hexdigest()


@dataclass(frozen=True, slots=True)
class Sending:
    """How files go to a server: bytes above which in parts, bytes of a part, whether the server may fetch."""

    multipart_above: int = 100 * 2**20
    part_size: int = 64 * 2**20
    fetch: bool = False
    wait: Callable[[float], None] = time.sleep
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
        return self.fetch and file.link is not None

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


def place_files(files: Files, record: str, wanted: Sequence[Wanted], sending: Sending, *, empty: bool = False) -> None:
    """Make the files of a draft those that are wanted; what is there and right is left alone.

    `empty` spares the look at a draft that was made just now. Raises Rejected for names that no record can hold,
    RdmUnknown when the server stored other bytes than were sent, OutOfTime when the next invocation has to go on.
    """
    problem = check_keys(wanted)
    if problem is not None:
        raise Rejected(f"{problem}; let this destination take its DIPs as one zip.", code="file-name-refused")
    if not wanted:
        return
    present = {} if empty else {entry.key: entry for entry in files.list(record)}
    complete = {key: entry for key, entry in present.items() if entry.complete}
    right = complete.keys() & {file.key for file in wanted} - unlike_wanted(complete, wanted, sending).keys()
    begun = {key for key, entry in present.items() if _is_begun(entry, record, sending)}
    if not begun:
        sending.sent.begun = None
    for key in present.keys() - right - begun:
        files.delete(record, key)
    missing = sorted((file for file in wanted if file.key not in right), key=lambda file: file.key not in begun)
    at_once = {file.key for file in missing if file.size <= sending.multipart_above and not sending.fetches(file)}
    at_once -= begun
    if at_once:
        files.announce(record, [_announcement(file) for file in missing if file.key in at_once])
    total, sent = sum(file.size for file in missing), 0
    for file in missing:
        sending.in_time()
        _upload(files, record, file, sending, announced=file.key in at_once)
        if file.md5 is not None:
            sending.sent.md5[file.key] = file.md5
        sent += file.size
        sending.tell("uploading", sent, total)


def unlike_wanted(stored: Mapping[str, FileEntry], wanted: Sequence[Wanted], sending: Sending) -> dict[str, str]:
    """Why stored files are not the wanted ones of their names, by key; raises OutOfTime between two of them."""
    found: dict[str, str] = {}
    for file in wanted:
        file.md5 = file.md5 or sending.sent.md5.get(file.key)
        if file.key not in stored:
            continue
        if file.md5 is None:
            sending.in_time()
        reason = unlike(stored[file.key], file)
        if reason is not None:
            found[file.key] = reason
        if file.md5 is not None:
            sending.sent.md5[file.key] = file.md5
    return found


def _is_begun(entry: FileEntry, record: str, sending: Sending) -> bool:
    begun = sending.sent.begun
    return begun is not None and (begun.record, begun.key) == (record, entry.key) and bool(entry.parts)


def unlike(entry: FileEntry, wanted: Wanted) -> str | None:
    """Why a stored file is not the wanted one; None when it is, by size and MD5."""
    if entry.size != wanted.size:
        return f"of {entry.size} bytes instead of {wanted.size}"
    if entry.md5 != wanted.digest():
        return f"with the MD5 {entry.md5} instead of {wanted.digest()}"
    return None


def _upload(files: Files, record: str, file: Wanted, sending: Sending, *, announced: bool) -> None:
    """One file, and once more when the server took it with `errors`: then nothing of it is stored."""
    begun = sending.sent.begun
    if begun is not None and (begun.record, begun.key) == (record, file.key):
        _compare(files, record, file, _in_parts(files, record, file, sending), sending)
        return
    if sending.fetches(file) and _fetched(files, record, file, sending):
        return
    try:
        _send(files, record, file, sending, announced=announced)
    except RdmRefused as error:
        if error.status != 200:
            raise
        files.delete(record, file.key)
        _send(files, record, file, sending, announced=False)


def _send(files: Files, record: str, file: Wanted, sending: Sending, *, announced: bool) -> None:
    if file.size > sending.multipart_above:
        entry = _in_parts(files, record, file, sending)
    else:
        if not announced:
            files.announce(record, [_announcement(file)])
        try:
            files.send(record, file.key, file.whole, file.size)
        except RdmTooLarge:
            files.delete(record, file.key)
            entry = _in_parts(files, record, file, sending)
        else:
            entry = files.commit(record, file.key)
    _compare(files, record, file, entry, sending)


def _announcement(file: Wanted, **more: Any) -> dict[str, Any]:
    metadata = {"metadata": dict(file.details)} if file.details else {}
    return {"key": file.key, "size": file.size, **metadata, **more}


def _in_parts(files: Files, record: str, file: Wanted, sending: Sending) -> FileEntry:
    size = max(sending.part_size, -(-file.size // MOST_PARTS))
    count = max(1, -(-file.size // size))
    digest = LongDigest(ALGORITHMS, sending.sent.parts_of(record, file.key, size) or START)
    if digest.offset:
        entry = files.one(record, file.key)
    else:
        if sending.sent.begun is not None:
            files.delete(record, file.key)
        transfer = {"type": "M", "parts": count, "part_size": size}
        (entry,) = files.announce(record, [_announcement(file, transfer=transfer)])
    sending.sent.begun = None
    if set(entry.parts) != set(range(1, count + 1)):
        raise RdmRefused(f"The access system offers {len(entry.parts)} parts for {file.key}, not {count}.", 201)
    resumable = resumes(ALGORITHMS)
    for number in range(digest.offset // size + 1, count + 1):
        begin = (number - 1) * size
        length = min(size, file.size - begin)
        _send_part(files, entry.parts[number], file, begin, length, digest)
        sending.tell(f"uploading {file.key}", begin + length, file.size)
        if number < count and resumable and digest.offset % SAVED_AT == 0:
            sending.sent.begun = Begun(record, file.key, size, digest.state())
            sending.in_time()
    sending.sent.begun = None
    found = digest.digests()
    if file.sha256 not in (None, found["sha256"].hex()):
        raise Broken(f"{file.key} is not what the index of the AIP says; nothing was published.", code="bad-aip")
    file.md5 = found["md5"].hex()
    return files.commit(record, file.key)


def _send_part(files: Files, url: str, file: Wanted, begin: int, length: int, digest: LongDigest) -> None:
    """One part; its bytes are counted, because a server takes a short one without complaint at the commit."""
    counted = 0

    def content() -> Iterable[bytes]:
        nonlocal counted
        for chunk in file.read(begin, length):
            digest.update(chunk)
            counted += len(chunk)
            yield bytes(chunk)

    files.send_part(url, content, length)
    if counted != length:
        raise Broken(f"{file.key} is shorter than the index of the AIP says.", code="bad-aip")


def _compare(files: Files, record: str, file: Wanted, entry: FileEntry, sending: Sending) -> None:
    """After the commit MD5 and size must be ours; a server may take its time to tell the MD5."""
    for _ in range(POLLS):
        if entry.md5 is not None:
            break
        sending.wait(1)
        entry = files.one(record, file.key)
    reason = unlike(entry, file)
    if reason is not None:
        files.delete(record, file.key)
        raise RdmUnknown(f"{file.key} was stored {reason}; it will be sent again.", retry_after=5)


def _fetched(files: Files, record: str, file: Wanted, sending: Sending) -> bool:
    """Let the server fetch the file itself; False where the instance does not let us."""
    assert file.link is not None
    try:
        (entry,) = files.announce(record, [_announcement(file, transfer={"type": "F", "url": file.link()})])
    except (RdmRefused, RdmForbidden) as error:
        log.warning("the access system does not fetch: %s", error.message)
        files.delete(record, file.key)
        return False
    for _ in range(POLLS):
        if entry.complete or entry.status == "failed":
            break
        sending.wait(1)
        entry = files.one(record, file.key)
    if entry.complete and entry.md5 is not None and unlike(entry, file) is None:
        return True
    log.warning("the access system could not fetch %s (%s); it is uploaded", file.key, entry.status)
    files.delete(record, file.key)
    return False
